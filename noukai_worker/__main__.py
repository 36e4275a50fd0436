"""`noukai-worker` and `python -m noukai_worker`: the way in to the command line, and the one place where errors become lines."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .errors import NoukaiWorkerError
from .tasks.process import search_rarely

_EXTRAS = {
    "typer": "cli",
    "rich": "cli",
    "fastapi": "web",
    "uvicorn": "web",
    "starlette": "web",
    "flower": "flower",
}
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command line, `sys.argv` unless given; the exit code. A user's mistake is one line on standard error."""
    search_rarely()
    try:
        from .cli.app import run  # what it imports may not be installed, and that is said here

        return run(arguments)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRAS:
            raise
        return _say(f'{package} is not installed: pip install "noukai-worker[{_EXTRAS[package]}]"')
    except NoukaiWorkerError as error:
        return _say(str(error))
    except KeyboardInterrupt:
        return _INTERRUPTED


def _say(text: str) -> int:
    sys.stderr.write(f"error: {' '.join(text.split())}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
