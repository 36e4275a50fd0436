"""Runs before a person's or a program's eyes: one live, one as it stands, many as a table."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from ..runs import Entry, RunView, State, rfc3339
from ..runs.answers import GateView
from .screen import JsonScreen, LiveScreen, PlainScreen, Screen, console
from .story import one_line

_INTERRUPTED = 130
_COLOURS = {
    State.RUNNING: "cyan",
    State.RETRYING: "yellow",
    State.PAUSED: "yellow",
    State.COMPLETED: "green",
    State.FAILED: "red",
    State.CANCELLED: "red",
}


def follow(run_id: str, *, after: int = 0, as_json: bool = False) -> int:
    """Show a run's entries after a position, to its end; 0 if it completed, 1 if not. Ctrl-C stops the watching, not the run."""
    from ..subscriber import subscribe  # not before the command line is known to make sense

    last: Entry | None = None
    try:
        with _screen(run_id, as_json=as_json) as screen, subscribe(run_id, after=after) as entries:
            for entry in entries:
                screen.show(run_id, entry)
                last = entry
    except KeyboardInterrupt:
        position = last.seq if last else after
        text = f"stopped watching; the run goes on: noukai-worker watch {one_line(run_id)} --after {position}"
        console(stderr=True).print(text)
        return _INTERRUPTED
    return 0 if _state_after(run_id, last) is State.COMPLETED else 1


def _state_after(run_id: str, last: Entry | None) -> State:
    if last is not None:
        return State(last.type.removeprefix("run."))
    from ..client import show  # only for a run whose end was read before

    return show(run_id).state


def _screen(run_id: str, *, as_json: bool) -> Screen:
    if as_json:
        return JsonScreen()
    out = console()
    return LiveScreen(out) if out.is_terminal else PlainScreen(out, [run_id])


def print_card(view: RunView) -> None:
    """A run as it stands, for a person."""
    rows: list[tuple[str, object]] = [
        ("run", view.id),
        ("flow", view.flow),
        ("mode", view.mode),
        ("state", view.state),
        ("attempt", view.attempt),
        ("steps", f"{view.step_index} of {view.step_count}" if view.step_count else None),
        ("entries", view.position),
        ("enqueued", rfc3339(view.created_at)),
        ("changed", rfc3339(view.updated_at)),
        ("deadline", rfc3339(view.deadline) if view.deadline else None),
        ("execution", view.execution_id),
        ("metadata", view.metadata or None),
        *(("waits for", f"{name}: {call}") for name, call in _calls(view)),
        ("failure", f"{view.failure.code}: {view.failure.message}" if view.failure else None),
        ("result", view.result),
    ]
    table = Table.grid(padding=(0, 2))
    for name, value in rows:
        if value is not None:
            table.add_row(Text(name, style="dim"), Text(one_line(value), overflow="fold", style=_style(name, view)))
    console().print(table)


def remedy(view: RunView) -> str | None:
    """The command that brings a run further that waits for a person, if it does."""
    run_id = shlex.quote(one_line(view.id))
    if view.failure:
        return f"try it once more: noukai-worker dead redrive {run_id}"
    if view.waiting_for is None:
        return None
    answers = [f"--result {shlex.quote(one_line(name) + '=CONTENT')}" for name, _ in _calls(view)]
    return f"go on with it: noukai-worker resume {run_id} {' '.join(answers) or '--results FILE'}"


def print_table(views: Sequence[RunView]) -> None:
    """Runs, one per row; to a pipe, one per line with tabs between."""
    rows = [
        (view.id, view.state, f"{view.step_index}/{view.step_count}" if view.step_count else "", view.flow, view.mode,
         rfc3339(view.created_at))
        for view in views
    ]  # fmt: skip
    styles = [_COLOURS.get(view.state, "") for view in views]
    _print_rows(("run", "state", "steps", "flow", "mode", "enqueued"), rows, styles)


def print_dead(views: Sequence[RunView]) -> None:
    """Failed runs and why they failed, in the same way."""
    rows = [
        (view.id, view.failure.code, rfc3339(view.updated_at), str(view.attempt), view.flow, view.mode,
         view.failure.message)
        for view in views
        if view.failure
    ]  # fmt: skip
    _print_rows(("run", "code", "failed", "attempts", "flow", "mode", "message"), rows, ["red"] * len(rows))


def _print_rows(names: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str]) -> None:
    """The second cell of a row has its style."""
    out = console()
    if not out.is_terminal:
        for row in rows:
            sys.stdout.write("\t".join(map(one_line, row)) + "\n")
        sys.stdout.flush()
        return
    table = Table(*names, box=None, header_style="dim")
    for row, style in zip(rows, styles, strict=True):
        table.add_row(*(Text(one_line(cell), style=style if n == 1 else "") for n, cell in enumerate(row)))
    out.print(table if rows else Text("no runs", style="dim"))


def _calls(view: RunView) -> list[tuple[str, str]]:
    """The tool calls that a paused run waits for: ids, and what is called with what."""
    calls = [call for call in view.waiting_for or () if isinstance(call, dict)]
    functions = [call["function"] if isinstance(call.get("function"), dict) else {} for call in calls]
    return [
        (str(call.get("id")), f"{function.get('name')}({function.get('arguments', '')})")
        for call, function in zip(calls, functions, strict=True)
    ]


def print_gates(gates: Sequence[GateView]) -> None:
    """Credentials: a line for each, and one for each tenant that waits."""
    for gate in gates:
        limits = [f"at most {gate.concurrency} at once"] if gate.concurrency else []
        limits += [f"{gate.rate:g} a second"] if gate.rate else []
        text = f"{gate.credential}: {', '.join(limits) or 'no limits'}"
        text += f"; {gate.held} running" if gate.concurrency else ""
        text += f"; paused until {rfc3339(gate.paused_until)}" if gate.paused_until else ""
        sys.stdout.write(one_line(text) + "\n")
        for kind, lines in gate.waiting.items():
            for tenant, number in sorted(lines.items(), key=lambda line: (-line[1], line[0])):
                who = f"tenant {tenant}" if tenant else "no tenant"
                sys.stdout.write(one_line(f"  {kind}: {number} waiting, {who}") + "\n")
            if gate.sent.get(kind):
                sys.stdout.write(f"  {kind}: {gate.sent[kind]} called\n")
    sys.stdout.flush()


def _style(name: str, view: RunView) -> str:
    return _COLOURS.get(view.state, "") if name == "state" else ""
