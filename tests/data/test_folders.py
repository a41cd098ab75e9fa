"""Folders that are whole or absent."""

import pytest

from nodewise.data.folders import whole_folder


def test_folder_appears_at_the_end(tmp_path):
    dest = tmp_path / "new" / "dest"
    with whole_folder(dest) as folder:
        (folder / "file").write_bytes(b"1")
        assert not dest.exists()
    assert (dest / "file").read_bytes() == b"1"
    assert list(dest.parent.iterdir()) == [dest]


def test_failure_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "dest") as folder:  # noqa: PT012
        (folder / "file").write_bytes(b"1")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_of_two_writers_the_first_one_stays(tmp_path):
    dest = tmp_path / "dest"
    with whole_folder(dest) as slow:
        (slow / "slow").touch()
        with whole_folder(dest) as fast:
            (fast / "fast").touch()
    assert [path.name for path in dest.iterdir()] == ["fast"]
    assert list(tmp_path.iterdir()) == [dest]
