"""`noukai-worker dead`: the runs that failed, and trying them once more."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InvalidRequest
from ..runs import State
from .lines import print_json
from .options import Json
from .story import one_line

if TYPE_CHECKING:
    from ..dead_runs import Redriven

dead = typer.Typer(name="dead", help="Failed runs: list them, try them once more.")

Flow = Annotated[str | None, typer.Option(metavar="FLOW", help="Only runs of this flow, org/project/slug.")]
Code = Annotated[str | None, typer.Option(help="Only runs that failed with this code.")]
Since = Annotated[
    str | None, typer.Option(metavar="WHEN", help="Only runs that failed since: 30m, 2h, 7d ago, or 2026-11-24T10:00Z.")
]


@dead.command("list")
def list_dead(
    *,
    flow: Flow = None,
    code: Code = None,
    since: Since = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    as_json: Json = False,
) -> int:
    """List failed runs with their reasons, those that failed last first."""
    from ..dead_runs import dead as dead_runs  # Celery takes its time
    from . import watching  # and so does rich

    found = dead_runs(limit, flow=flow, code=code, since=since)
    if as_json:
        for view in found:
            print_json(view.public())
    else:
        watching.print_dead(found)
    return 0


@dead.command()
def redrive(
    run_ids: Annotated[list[str] | None, typer.Argument(metavar="[RUN]…", help="Ids of failed runs.")] = None,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="All failed runs, or those that the options choose.")
    ] = False,
    flow: Flow = None,
    code: Code = None,
    since: Since = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many.", show_default="no limit")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before --all.")] = False,
    as_json: Json = False,
) -> int:
    """Try failed runs once more, from their checkpoints. Exit code 1 if one was refused."""
    chosen = any(option is not None for option in (flow, code, since, limit))
    if everything == bool(run_ids):
        raise InvalidRequest("name the runs to redrive, or use --all")
    if chosen and not everything:
        raise InvalidRequest("--flow, --code, --since and --limit choose among --all failed runs")
    from .. import dead_runs  # Celery takes its time

    ids = list(dict.fromkeys(run_ids or ()))
    if everything:
        ids = [view.id for view in dead_runs.dead(limit, flow=flow, code=code, since=since)]
        if ids and not yes and sys.stdin.isatty() and not typer.confirm(f"redrive {len(ids)} failed runs?", err=True):
            return 1
    refused = 0
    for outcome in dead_runs.redrive_each(ids):
        _print(outcome, as_json=as_json)
        refused += outcome.error is not None
    return 1 if refused else 0


def _print(outcome: Redriven, *, as_json: bool) -> None:
    why = None if outcome.error is None else one_line(outcome.error)
    if as_json:
        code = getattr(outcome.error, "code", "internal_error")
        print_json(
            {"id": outcome.run_id, "error": {"code": code, "message": why}}
            if why
            else {"id": outcome.run_id, "status": State.QUEUED}
        )
    elif why:
        typer.echo(f"error: {why}", err=True)
    else:
        typer.echo(f"{one_line(outcome.run_id)} redriven")
