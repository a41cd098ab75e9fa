"""Spark's Java classes as its JVMs want them in memory, kept in a file, so that each JVM starts in half the time.

<user's cache>/nodewise/spark/<key>/classes-<CRC-32C>.jsa    the classes, for any JVM of this Java and this pyspark
<user's cache>/nodewise/spark/<key>/none                     why there are none: what Spark said last
<user's cache>/nodewise/spark/<key>/conf/                    an empty folder

The key is of Java's program and Spark's folder of jars, with their times of change: another version is another key.
The whole folder may be removed at any time. The file is Java's own (JEP 350). A JVM takes it only if its class path is
the one that the file was made with, and no folder on that may hold anything; so the constant empty one stands in for
``SPARK_CONF_DIR``, which Spark puts there, and what is otherwise read from that is named by options. A file that does
not fit is passed over by the JVM; one that was cut off would end it, so its checksum is in its name.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from nodewise.core.errors import MissingDependencyError
from nodewise.core.files import TEMP_PREFIX, user_cache_dir
from nodewise.core.java import find_java

__all__ = ["java_options", "keep_classes", "kept_classes", "outdated_classes", "spark_conf_dir", "spark_home"]

# Nodes are JVMs that only hand work to Python: a small heap and the client compiler start in half the time.
JAVA_OPTIONS = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData -Xshare:auto"
QUIET = "-Xlog:cds=off -Xlog:cds+dynamic=off"
NONE = "none"
TIMEOUT_S = 120.0
CHUNK_BYTES = 1 << 20


def spark_home() -> Path:
    """The folder of pyspark.

    Raises:
        MissingDependencyError: It is not installed.
    """
    found = find_spec("pyspark")
    if found is None or found.origin is None:
        raise MissingDependencyError(
            "engine 'spark' needs the package pyspark", hint="pip install 'nodewise[spark]'"
        ) from None
    return Path(found.origin).parent


def spark_conf_dir() -> Path:
    """An empty folder for ``SPARK_CONF_DIR``; without kept classes it need not be there."""
    return _folder() / "conf"


def java_options(log_config: Path) -> str:
    """Options for a JVM of Spark that is to start fast, with the classes that are kept, if they are.

    Args:
        log_config: Configuration of Log4j, which it would else look for in ``SPARK_CONF_DIR``.
    """
    # As an address, since Log4j takes a path with a comma for two.
    options = f"{JAVA_OPTIONS} -Dlog4j2.configurationFile={log_config.absolute().as_uri()}"
    classes = kept_classes()
    return options if classes is None else f'{options} -XX:SharedArchiveFile="{classes}" {QUIET}'


def kept_classes() -> Path | None:
    """The file with the classes, if there is one that is whole."""
    return next((path for path in _folder().glob("classes-*.jsa") if path.stem == _stem(path)), None)


def keep_classes(tell: Callable[[str], None] = lambda _text: None) -> None:
    """Keep Spark's classes, those of a short application, unless that was done or tried before.

    Where they cannot be kept, say because Java is of another kind or the cache cannot be written, Spark starts as it
    does without them. While one process makes the file no other waits for it.

    Args:
        tell: Called if it has to be done now.
    """
    if find_java() is None or find_spec("pyspark") is None:
        return
    folder = _folder()
    if (folder / NONE).exists() or kept_classes() is not None:
        return
    with suppress(OSError), _alone(folder), tempfile.TemporaryDirectory(prefix="nodewise-spark-") as scratch:
        # Whoever was alone before may have made it.
        if kept_classes() is None:
            for rest in folder.glob("*.jsa"):
                rest.unlink()
            tell("Spark's Java classes are kept from now on, so that it starts faster: once, about 15 s")
            part = folder / f"{TEMP_PREFIX}{os.getpid()}.jsa"
            try:
                _make(part, Path(scratch))
            finally:
                part.unlink(missing_ok=True)


def outdated_classes() -> list[Path]:
    """Folders with the classes of other versions of Java and pyspark than those that are used here now."""
    mine = _folder() if find_java() is not None and find_spec("pyspark") is not None else None
    return sorted(path for path in _root().glob("*") if path.is_dir() and path != mine)


def _root() -> Path:
    return user_cache_dir() / "spark"


def _folder() -> Path:
    versions = [path.resolve() for path in (find_java(), spark_home() / "jars") if path is not None and path.exists()]
    facts = [f"{path} {path.stat().st_mtime_ns}" for path in versions]
    return _root() / hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def _stem(path: Path) -> str:
    import google_crc32c

    crc = google_crc32c.Checksum()
    with suppress(OSError), path.open("rb") as stream:
        for chunk in iter(partial(stream.read, CHUNK_BYTES), b""):
            crc.update(chunk)
    return f"classes-{crc.hexdigest().decode()}"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Be the only process that makes a file there, which the kernel sees to; else OSError."""
    (folder / "conf").mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _make(part: Path, scratch: Path) -> None:
    said = _rehearse(part, scratch)
    if said is None:
        part.rename(part.with_name(f"{_stem(part)}.jsa"))
    else:
        (part.parent / NONE).write_text(f"{said}\n")


def _rehearse(archive: Path, scratch: Path) -> str | None:
    """Run an application that ends with writing the classes it has loaded; what it said last if it did not."""
    settings = {
        # So that what processes ask each other for a secret with is loaded, too.
        "spark.authenticate": "true",
        "spark.authenticate.secret": secrets.token_hex(32),
        "spark.local.dir": str(scratch),
        "spark.ui.enabled": "false",
    }
    properties = scratch / "spark.properties"
    properties.touch(mode=0o600)
    properties.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    environment = {
        **os.environ,
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_SUBMIT_ARGS": f"--properties-file {shlex.quote(str(properties))} pyspark-shell",
        "SPARK_CONF_DIR": str(spark_conf_dir()),
        "SPARK_HOME": str(spark_home()),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_SUBMIT_OPTS": f'{JAVA_OPTIONS} -XX:ArchiveClassesAtExit="{archive}" {QUIET}',
    }
    program, log = Path(__file__).with_name("rehearsal.py"), scratch / "log"
    # Its input is held open for as long as this process is there, and it ends with that.
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, program],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        ) as rehearsal,
    ):
        try:
            status = rehearsal.wait(TIMEOUT_S)
        except BaseException as reason:
            os.killpg(rehearsal.pid, signal.SIGKILL)
            if isinstance(reason, subprocess.TimeoutExpired):
                return f"it did not end within {TIMEOUT_S:.0f} s"
            raise
    if status == 0 and archive.exists():
        return None
    return (log.read_text(errors="replace").strip().splitlines() or ["nothing"])[-1]
