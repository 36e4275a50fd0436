"""The doctor's findings before a person's or a program's eyes."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from celery.app.utils import find_app
from rich.text import Text

from ..doctor.finding import Finding, Severity
from ..doctor.looking import examine
from ..errors import InvalidRequest
from ..settings import current
from ..tasks import app as apps
from .screen import console
from .story import one_line

_STYLES: Mapping[Severity, str] = {Severity.PROBLEM: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "dim"}
_WIDTH = max(map(len, Severity))


def doctor(name: str | None, *, as_json: bool, strict: bool) -> int:
    """Look at this process' settings and an app (ours, unless `name` says which), print what is wrong; the exit code.

    0 if there is no problem, 1 if there is one; `strict`: 1 for a warning, too. Notes never count. Raises InvalidRequest for an
    app that cannot be imported.
    """
    settings = current()
    app = _app(name) if name else apps.current()
    findings = examine(app, current() if name else settings)  # the application may have passed its own to configure()
    (_print_json if as_json else _print)(findings)
    counted = {Severity.PROBLEM, Severity.WARNING} if strict else {Severity.PROBLEM}
    return int(any(finding.severity in counted for finding in findings))


def _app(name: str) -> Any:
    try:
        return find_app(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidRequest(f"--app {name}: no Celery app there ({error}); name it as for celery -A") from None


def _print_json(findings: Sequence[Finding]) -> None:
    for finding in findings:
        line = json.dumps(finding.public(), ensure_ascii=False).encode("utf-8", "backslashreplace")
        sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def _print(findings: Sequence[Finding]) -> None:
    out = console()
    for finding in findings:
        severity = f"{finding.severity:<{_WIDTH}}"
        head = Text.assemble(
            (severity, _STYLES[finding.severity]),
            f"  {finding.where}: {one_line(finding.message)} ",
            (f"[{finding.code}]", "dim"),
        )
        out.print(head)
        out.print(" " * _WIDTH + f"  → {one_line(finding.remedy)}")
    out.print(_sum(findings))


def _sum(findings: Sequence[Finding]) -> Text:
    counts = Counter(finding.severity for finding in findings)
    if not counts:
        return Text("nothing wrong", style="bold green")
    words = [f"{counts[kind]} {kind}{'s' if counts[kind] > 1 else ''}" for kind in Severity if counts[kind]]
    return Text(", ".join(words))
