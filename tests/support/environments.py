"""Environments with packages from the index, beside the one that the tests run in."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

# An environment may have been made without a pip of its own (Debian without python3-venv); the one it was made from has.
_PIPS = (sys.executable, getattr(sys, "_base_executable", sys.executable))


def python_with(place: Path, *packages: str) -> Path:
    """The interpreter of the environment at `place` that has these packages, made once.

    Raises RuntimeError with what pip said if they cannot be installed.
    """
    python, complete = place / "bin" / "python", place / "complete"
    wanted = "\n".join(packages)
    if not complete.exists() or complete.read_text() != wanted:
        venv.create(place, clear=True)
        _install(python, packages)
        complete.write_text(wanted)
    return python


def _install(python: Path, packages: tuple[str, ...]) -> None:
    said = ""
    for outer in dict.fromkeys(_PIPS):
        command = [outer, "-m", "pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run([*command, *packages], capture_output=True, text=True, timeout=600, check=False)
        if done.returncode == 0:
            return
        said += done.stderr
    raise RuntimeError(f"{' '.join(packages)} cannot be installed from the package index:\n{said}")
