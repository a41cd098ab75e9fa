"""Tests of Spark's kept classes: made once, used only when whole, and no condition for anything."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
from tests.engines.clusters import on_cluster, on_no_cluster
from tests.engines.processes import MARK, marked_processes
from tests.engines.tasks import wait_until

from nodewise.core import spark_classes
from nodewise.core.spark_classes import java_options, keep_classes, kept_classes, spark_conf_dir
from nodewise.engines.base import Engine
from nodewise.engines.spark import SparkEngine
from nodewise.specs.cluster import ClusterSpec


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the user's."""
    folder = tmp_path / "cache of mine, new"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


def rehearsal(monkeypatch: pytest.MonkeyPatch, says: str | None, content: bytes = b"classes") -> list[Path]:
    """In place of the application: what it says, after it has written a file; the list of those it was asked for."""
    asked: list[Path] = []

    def rehearse(archive: Path, _scratch: Path) -> str | None:
        asked.append(archive)
        archive.write_bytes(content)
        return says

    monkeypatch.setattr(spark_classes, "_rehearse", rehearse)
    return asked


def files(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.rglob("*") if path.is_file())


def test_they_are_made_once_and_named_by_their_checksum(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = rehearsal(monkeypatch, None, b"123456789")
    told: list[str] = []
    for _ in range(2):
        keep_classes(told.append)
    assert len(asked) == 1
    assert [text.partition(":")[0] for text in told] == [
        "Spark's Java classes are kept from now on, so that it starts faster"
    ]
    # The check value of CRC-32C that every description of it gives.
    assert files(cache) == ["classes-e3069283.jsa"]
    assert kept_classes() == spark_conf_dir().parent / "classes-e3069283.jsa"
    assert list(spark_conf_dir().iterdir()) == []


def test_options_name_them_only_if_they_are_whole(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without = java_options(Path("/a, b/log.conf"))
    # Log4j would take the comma for the end of the path, and Spark the blank for the end of the option.
    assert "-Dlog4j2.configurationFile=file:///a%2C%20b/log.conf" in without.split()
    assert "SharedArchiveFile" not in without
    rehearsal(monkeypatch, None)
    keep_classes()
    classes = kept_classes()
    assert classes is not None
    assert java_options(Path("/a, b/log.conf")).startswith(f'{without} -XX:SharedArchiveFile="{classes}" ')
    for damaged in (b"class", b"clasSes", b""):
        classes.write_bytes(damaged)
        assert kept_classes() is None
        assert java_options(Path("/a, b/log.conf")) == without


def test_damaged_ones_and_rests_are_replaced(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rehearsal(monkeypatch, None)
    keep_classes()
    whole = kept_classes()
    assert whole is not None
    whole.write_bytes(b"clas")
    whole.with_name(".part-1.jsa").write_bytes(b"of one that was killed")
    keep_classes()
    assert kept_classes() == whole
    assert files(cache) == [whole.name]


def test_where_spark_cannot_make_them_it_is_not_asked_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = rehearsal(monkeypatch, "no such option")
    for _ in range(2):
        keep_classes()
    assert len(asked) == 1
    assert files(cache) == ["none"]
    assert (spark_conf_dir().parent / "none").read_text() == "no such option\n"
    assert kept_classes() is None


def test_another_java_or_another_pyspark_has_its_own(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = rehearsal(monkeypatch, None)
    keep_classes()
    java = tmp_path / "java" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text("#!/bin/sh\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "java"))
    assert kept_classes() is None
    keep_classes()
    # An update in place, too.
    os.utime(java, (1, 1))
    keep_classes()
    jars = tmp_path / "pyspark" / "jars"
    jars.mkdir(parents=True)
    monkeypatch.setattr(spark_classes, "spark_home", lambda: jars.parent)
    keep_classes()
    assert len({path.parent for path in asked}) == 4


def test_who_finds_them_being_made_does_without(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def rehearse(archive: Path, _scratch: Path) -> None:
        begun.set()
        assert go_on.wait(60)
        archive.touch()

    monkeypatch.setattr(spark_classes, "_rehearse", rehearse)
    maker = threading.Thread(target=keep_classes)
    maker.start()
    assert begun.wait(60)
    told: list[str] = []
    keep_classes(told.append)
    assert told == []
    assert kept_classes() is None
    go_on.set()
    maker.join()
    assert kept_classes() is not None


@pytest.mark.parametrize("missing", ["java", "pyspark", "cache"])
def test_without_java_pyspark_or_a_cache_nothing_happens(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    asked = rehearsal(monkeypatch, None)
    match missing:
        case "java":
            monkeypatch.setenv("JAVA_HOME", str(tmp_path))
        case "pyspark":
            monkeypatch.setitem(sys.modules, "pyspark", None)
        case "cache":
            # A file where a folder should be: nobody can write there, root included.
            cache.touch()
    keep_classes()
    assert asked == []
    assert files(tmp_path) == (["cache of mine, new"] if missing == "cache" else [])


@pytest.mark.parametrize(
    ("content", "limit_s", "said"),
    [
        ("echo 'Unrecognized option'; exit 1", 60.0, "[JAVA_GATEWAY_EXITED] Java gateway process exited before"),
        # Its standard input ends with whoever has started it.
        ("exec cat", 2.0, "it did not end within 2 s"),
    ],
    ids=["it fails", "it hangs"],
)
def test_what_spark_said_last_is_kept(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, limit_s: float, said: str
) -> None:
    home = stub(tmp_path, content)
    monkeypatch.setattr(spark_classes, "spark_home", lambda: home)
    monkeypatch.setattr(spark_classes, "TIMEOUT_S", limit_s)
    keep_classes()
    assert said in (spark_conf_dir().parent / "none").read_text()
    assert files(cache) == ["none"]


def test_their_making_ends_with_who_began_it(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = f"""
from pathlib import Path
from nodewise.core import spark_classes
spark_classes.spark_home = lambda: Path({str(stub(tmp_path, f"touch '{tmp_path}/begun'; exec cat"))!r})
spark_classes.keep_classes()
"""
    monkeypatch.setenv(MARK, str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", code]) as maker:
        wait_until((tmp_path / "begun").exists)
        assert len(marked_processes(str(tmp_path))) == 3
        maker.kill()
    wait_until(lambda: marked_processes(str(tmp_path)) == [])
    # Nobody says that it cannot be done.
    assert files(cache) == []


def stub(folder: Path, script: str) -> Path:
    """A home of Spark with a program of a few words in place of spark-submit."""
    submit = folder / "pyspark" / "bin" / "spark-submit"
    submit.parent.mkdir(parents=True)
    submit.write_text(f"#!/bin/sh\n{script}\n")
    submit.chmod(0o755)
    return submit.parent.parent


@pytest.fixture
def real() -> Path:
    """Those that the tests on Spark use."""
    classes = kept_classes()
    if classes is None:
        pytest.skip(f"this Java keeps no classes: {(spark_conf_dir().parent / 'none').read_text()}")
    return classes


def mapped_by_children() -> list[list[Path]]:
    """For each JVM that this process has started, or one of its children, the kept classes that it uses."""
    jvms = [child for child in psutil.Process().children(recursive=True) if child.name() == "java"]
    return [sorted({Path(part.path) for part in jvm.memory_maps() if "/classes-" in part.path}) for jvm in jvms]


def mapped_alone() -> list[Path]:
    """The kept classes that the JVM of a single node uses, which has said nothing of them."""
    engine = SparkEngine(ClusterSpec(engine="spark"))
    try:
        engine.start()
        (mapped,) = mapped_by_children()
        assert engine._folder is not None
        assert "cds" not in (engine._folder / "driver.log").read_text()
    finally:
        engine.stop()
    return mapped


@pytest.mark.slow
@on_no_cluster("spark")
def test_spark_makes_them(cache: Path, engine: None) -> None:
    keep_classes()
    classes = kept_classes()
    assert classes is not None
    assert files(cache) == [classes.name]
    assert mapped_alone() == [classes]


@on_no_cluster("spark")
@pytest.mark.parametrize("share", [0.5, 1.0], ids=["cut off", "of another class path"])
def test_those_that_do_not_fit_do_no_harm(real: Path, cache: Path, engine: None, share: float) -> None:
    foreign = spark_conf_dir().parent / real.name
    spark_conf_dir().mkdir(parents=True)
    foreign.write_bytes(real.read_bytes()[: int(real.stat().st_size * share)])
    assert kept_classes() == (foreign if share == 1.0 else None)
    assert mapped_alone() == []


@on_cluster("spark", 3)
def test_every_jvm_of_a_cluster_uses_them(real: Path, engine: Engine) -> None:
    # The master, a worker and an executor on each node, and the driver.
    assert mapped_by_children() == [[real]] * 8
