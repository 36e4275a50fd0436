"""`noukai-worker resume`: what a paused run waits for, from the command line or a file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import InvalidRequest
from ..runs import State
from .lines import print_json
from .options import Json, RunId
from .story import one_line


def resume(
    run_id: RunId,
    *,
    result: Annotated[
        list[str] | None, typer.Option(metavar="ID=CONTENT", help="The result of one tool call, as text (repeatable).")
    ] = None,
    results: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help='JSON: {ID: CONTENT} or [{"tool_call_id", "content"}]; - for standard input.'
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Go on with a paused run: answer all the tool calls that it waits for (`show` tells which)."""
    if bool(result) == bool(results):
        raise InvalidRequest("give the results of the tool calls with --result ID=CONTENT, or in a file with --results")
    given = _read(results) if results else dict(map(_pair, result or ()))
    if result and len(given) < len(result):
        raise InvalidRequest("--result: one tool call is answered twice")
    from .. import client  # Celery takes its time

    run = client.resume(run_id, given)
    if as_json:
        print_json({"id": run.id, "status": State.QUEUED, "position": run.position})
        return 0
    typer.echo(f"{one_line(run.id)} goes on")
    if sys.stderr.isatty():
        typer.echo(f"watch it: noukai-worker watch {one_line(run.id)} --after {run.position}", err=True)
    return 0


def _pair(text: str) -> tuple[str, str]:
    name, equals, content = text.partition("=")
    if not name or not equals:
        raise InvalidRequest(f"--result {text}: write it as the tool call's id, =, and its result")
    return name, content


def _read(place: str) -> Any:
    try:
        text = sys.stdin.read() if place == "-" else Path(place).read_text(encoding="utf-8")
        given = json.loads(text)
    except OSError as error:
        raise InvalidRequest(f"--results {place}: it cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"--results {place}: it is not JSON ({error})") from None
    return given["tool_results"] if isinstance(given, dict) and set(given) == {"tool_results"} else given
