"""The Java that Spark runs on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from nodewise.core.errors import MissingDependencyError

__all__ = ["MIN_JAVA", "find_java", "require_java"]

MIN_JAVA = 17


def find_java() -> Path | None:
    """The program that Spark's scripts will call; None: there is none."""
    home = os.environ.get("JAVA_HOME")
    java = os.path.join(home, "bin", "java") if home else shutil.which("java")
    return Path(java) if java is not None and os.access(java, os.X_OK) else None


def require_java() -> str:
    """The Java that Spark will find: its path and version.

    Raises:
        MissingDependencyError: There is none, or it is too old; the hint names the package to install.
    """
    hint = f"install Java {MIN_JAVA} or later, such as the package openjdk-{MIN_JAVA}-jre-headless, or set JAVA_HOME"
    java = find_java()
    if java is None:
        home = os.environ.get("JAVA_HOME")
        place = f"JAVA_HOME is {home}, which has no bin/java" if home else "no java on the PATH"
        raise MissingDependencyError(f"engine 'spark' needs Java {MIN_JAVA} or later: {place}", hint=hint)
    shown = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(?:1\.)?(\d+)', shown)
    if found is None or int(found.group(1)) < MIN_JAVA:
        version = found.group(1) if found else "of unknown version"
        raise MissingDependencyError(f"engine 'spark' needs Java {MIN_JAVA} or later: {java} is {version}", hint=hint)
    return f"{java}, version {found.group(1)}"
