"""Folders that are whole or absent, as :mod:`nodewise.core.files` makes files."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nodewise.core.files import TEMP_PREFIX

__all__ = ["whole_folder"]


@contextmanager
def whole_folder(dest: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``dest``, which gets that name when the block ends well and is removed if not.

    If another process made ``dest`` in the meantime, that one stays.
    """
    dest.parent.mkdir(parents=True, exist_ok=True)
    temporary = dest.parent / f"{TEMP_PREFIX}{uuid.uuid4().hex[:12]}-{dest.name}"
    temporary.mkdir()
    try:
        yield temporary
        try:
            os.rename(temporary, dest)
        except OSError:
            if not dest.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
