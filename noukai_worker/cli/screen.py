"""Shows runs as they go: JSON lines for programs, plain lines for pipes, and a live display for a terminal."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import NoReturn, Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from ..runs import Entry, State
from .story import Line, Story, Tone

_STYLES: Mapping[Tone, str] = {
    Tone.NOTE: "dim",
    Tone.STEP: "cyan",
    Tone.TEXT: "",
    Tone.TROUBLE: "yellow",
    Tone.DONE: "bold green",
    Tone.FAILED: "bold red",
}
_FRAMES_PER_SECOND = 10
_TAIL = 9


class _Console(Console):
    """A console that leaves a broken pipe to its caller, who may have processes to stop."""

    def on_broken_pipe(self) -> NoReturn:
        # Called while the BrokenPipeError is being handled.
        raise  # noqa: PLE0704


def console(*, stderr: bool = False) -> Console:
    """A console on standard output, or standard error."""
    return _Console(stderr=stderr, highlight=False, emoji=False, markup=False, soft_wrap=True)


class Screen(Protocol):
    """A context manager that is given entries, each with the name of its run."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, name: str, entry: Entry) -> None:
        """Show one entry."""


class _Still:
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return


class JsonScreen(_Still):
    """Each entry as it is on the channel, one per line."""

    def show(self, name: str, entry: Entry) -> None:  # noqa: ARG002 - the entry carries its run's id
        """Write the entry."""
        sys.stdout.buffer.write(entry.raw + b"\n")
        sys.stdout.buffer.flush()


class PlainScreen(_Still):
    """Lines, for a pipe or a file; with more than one run each begins with its run's name."""

    def __init__(self, out: Console, names: Iterable[str]) -> None:
        self._out = out
        self._stories = {name: Story() for name in names}
        self._width = max(map(len, self._stories)) if len(self._stories) > 1 else 0

    def show(self, name: str, entry: Entry) -> None:
        """Write the lines that the entry is worth."""
        prefix = f"{name:<{self._width}} | " if self._width else ""
        for line in self._stories[name].tell(entry):
            self._out.print(prefix + line.text)


class LiveScreen:
    """One run in a terminal: what has been said scrolls away above a bar over the steps."""

    def __init__(self, out: Console) -> None:
        self._story = Story()
        self._bar = _Bar(self._story, 20, unfinished=True)
        self._live = Live(self._bar, console=out, refresh_per_second=_FRAMES_PER_SECOND, transient=True)

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, name: str, entry: Entry) -> None:  # noqa: ARG002 - there is only one
        """Print what the entry says, and move the bar."""
        for line in self._story.tell(entry):
            self._live.console.print(_styled(line), soft_wrap=True)


class SideBySide:
    """Several runs in a terminal, each in a column of its own, which says `opening` until there is something to show."""

    def __init__(self, out: Console, names: Iterable[str], opening: str) -> None:
        self._columns = {name: _Column(name, opening) for name in names}
        self._live = Live(get_renderable=self._table, console=out, refresh_per_second=_FRAMES_PER_SECOND)

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, name: str, entry: Entry) -> None:
        """Add what the entry says to its run's column."""
        self._columns[name].add(entry)

    def _table(self) -> Table:
        table = Table.grid(expand=True)
        for _ in self._columns:
            table.add_column(ratio=1)
        table.add_row(*(column.panel() for column in self._columns.values()))
        return table


class _Bar:
    def __init__(self, story: Story, width: int, *, unfinished: bool) -> None:
        self._story, self._width, self._unfinished = story, width, unfinished
        self._spinner = Spinner("dots")
        self._began: float | None = None
        self._seconds = 0.0

    def __rich__(self) -> RenderableType:
        story = self._story
        if story.seq and not story.state.terminal:
            self._began = self._began or time.monotonic()
            self._seconds = time.monotonic() - self._began
        counted = f"{story.steps}/{story.step_count}" if story.step_count else ""
        row = Table.grid(padding=(0, 1))
        row.add_column(width=1)
        row.add_column(width=self._width)
        row.add_row(
            _MARKS.get(story.state) or self._spinner,
            ProgressBar(
                total=story.step_count or 1,
                completed=(story.step_count or 1) if story.state is State.COMPLETED else story.steps,
                width=self._width,
            ),
            Text(f"{counted} {story.step or story.state} {self._seconds:.0f} s".strip(), style="dim", no_wrap=True),
        )
        if self._unfinished and story.unfinished:
            return Group(Text(story.unfinished), row)
        return row


_MARKS = {
    State.COMPLETED: Text("✓", style="bold green"),
    State.FAILED: Text("✗", style="bold red"),
    State.CANCELLED: Text("✗", style="bold red"),
    State.PAUSED: Text("⏸", style="yellow"),
}


class _Column:
    def __init__(self, name: str, opening: str) -> None:
        self._name = name
        self._story = Story()
        self._bar = _Bar(self._story, 10, unfinished=False)
        self._lines: deque[Line] = deque([Line(Tone.NOTE, opening)], maxlen=_TAIL)

    def add(self, entry: Entry) -> None:
        self._lines.extend(self._story.tell(entry))

    def panel(self) -> Panel:
        lines = [*self._lines]
        if self._story.unfinished:
            lines.append(Line(Tone.TEXT, self._story.unfinished))
        return Panel(Group(_Tail(lines), self._bar), title=Text(self._name), height=_TAIL + 3)


class _Tail:
    """The last rows of some lines, wrapped to whatever width there is; always `_TAIL` rows high."""

    def __init__(self, lines: list[Line]) -> None:
        self._lines = lines

    def __rich_console__(self, out: Console, options: object) -> Iterable[RenderableType]:
        width = getattr(options, "max_width", 40)
        rows = [row for line in self._lines for row in _styled(line).wrap(out, width)][-_TAIL:]
        yield from rows
        yield from (Text() for _ in range(_TAIL - len(rows)))


def _styled(line: Line) -> Text:
    return Text(line.text, style=_STYLES[line.tone])
