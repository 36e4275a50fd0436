"""Tells a run's entries to a person: one entry in, the lines it is worth out, and how far the run is. Pure: no terminal, no clock.

A step's text arrives in pieces; whole lines are told as soon as they are whole, the unfinished one waits in `unfinished`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ..runs import TERMINAL_TYPES, Entry, EntryType, State


class Tone(Enum):
    """What a line is about; a screen chooses how that looks."""

    NOTE = "note"
    STEP = "step"
    TEXT = "text"
    TROUBLE = "trouble"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Line:
    """One line, without its end and without anything a terminal would obey."""

    tone: Tone
    text: str


_STATES: Mapping[str, State] = {
    EntryType.QUEUED: State.QUEUED,
    EntryType.STARTED: State.RUNNING,
    EntryType.RETRYING: State.RETRYING,
    EntryType.PAUSED: State.PAUSED,
    EntryType.RESUMED: State.QUEUED,
    EntryType.COMPLETED: State.COMPLETED,
    EntryType.FAILED: State.FAILED,
    EntryType.CANCELLED: State.CANCELLED,
}


class Story:
    """How far one run is. `steps` of `step_count` (None: unknown) have finished; `step` is the name of the one that is going on."""

    def __init__(self) -> None:
        self.flow = ""
        self.state = State.QUEUED
        self.attempt = 0
        self.steps = 0
        self.step_count: int | None = None
        self.step: str | None = None
        self.unfinished = ""
        self.seq = 0
        """The last entry that was told."""
        self._streamed = False
        self._spoken = ""

    def tell(self, entry: Entry) -> list[Line]:
        """The lines that this entry is worth; entries that say nothing to a person are worth none."""
        self.seq, self.attempt = entry.seq, max(entry.attempt, self.attempt)
        self.state = _STATES.get(entry.type, self.state)
        teller = _TELLERS.get(entry.type)
        if teller is None:
            return []
        # What was half said is said before anything else is.
        before = self._rest() if entry.type != "step_output" else []
        if entry.type in TERMINAL_TYPES:
            self.step = None
        return before + teller(self, entry.data)

    def _rest(self) -> list[Line]:
        rest, self.unfinished = self.unfinished, ""
        return [Line(Tone.TEXT, rest)] if rest.strip() else []

    def _queued(self, data: Mapping[str, Any]) -> list[Line]:
        self.flow = _plain(data.get("flow"))
        delay = data.get("delay") or 0
        due = f", due in {delay:g} s" if delay else ""
        return [Line(Tone.NOTE, f"queued {self.flow} ({_plain(data.get('mode'))}){due}")]

    def _started(self, data: Mapping[str, Any]) -> list[Line]:
        step = int(data.get("resumed_at_step") or 0)
        self.steps, self.step, self._streamed, self._spoken = step, None, False, ""
        goes_on = f", goes on at step {step + 1}" if step else ""
        return [Line(Tone.NOTE, f"attempt {self.attempt} on {_plain(data.get('worker'))}{goes_on}")]

    def _flow_started(self, data: Mapping[str, Any]) -> list[Line]:
        count = data.get("stepCount")
        self.step_count = count if isinstance(count, int) else self.step_count
        return []

    def _step_started(self, data: Mapping[str, Any]) -> list[Line]:
        self.step, self._streamed, self._spoken = _plain(data.get("name") or data.get("stepId")), False, ""
        of = f"/{self.step_count}" if self.step_count else ""
        return [Line(Tone.STEP, f"step {self.steps + 1}{of}: {self.step}")]

    def _step_output(self, data: Mapping[str, Any]) -> list[Line]:
        text = _text_of(data.get("outputData"))
        if text is None:
            return []
        self._streamed = True
        self._spoken += text
        *whole, self.unfinished = (self.unfinished + _printable(text)).split("\n")
        return [Line(Tone.TEXT, line) for line in whole]

    def _step_completed(self, data: Mapping[str, Any]) -> list[Line]:
        output = _text_of(data.get("output"))
        lines = [] if self._streamed or output is None else _lines(Tone.TEXT, output)
        self._spoken = output if output is not None else self._spoken
        self.steps += 1
        self.step, name = None, _plain(data.get("name") or data.get("stepId"))
        duration = data.get("durationMs")
        took = f" in {duration / 1000:.1f} s" if isinstance(duration, int) else ""
        return [*lines, Line(Tone.STEP, f"done: {name}{took}")]

    def _step_error(self, data: Mapping[str, Any]) -> list[Line]:
        error = data.get("error")
        reason = f"{_member(error, 'code')}: {_member(error, 'message')}" if isinstance(error, dict) else error
        return [Line(Tone.TROUBLE, f"step {_plain(data.get('name') or data.get('stepId'))} failed: {_plain(reason)}")]

    def _tools(self, data: Mapping[str, Any]) -> list[Line]:
        calls = data.get("toolCalls")
        names = [_member(_member(call, "function"), "name") for call in (calls if isinstance(calls, list) else [])]
        return [Line(Tone.NOTE, f"asks for tools: {', '.join(map(_plain, names))}")]

    def _retrying(self, data: Mapping[str, Any]) -> list[Line]:
        delay = data.get("delay") or 0
        when = f"again in {delay:.1f} s" if delay else "redriven" if data.get("redriven") else "again at once"
        reason = f"{_plain(data.get('code'))}: {_plain(data.get('message'))}"
        return [Line(Tone.TROUBLE, f"attempt {self.attempt} ended: {reason}; {when}")]

    def _paused(self, _: Mapping[str, Any]) -> list[Line]:
        return [Line(Tone.NOTE, "paused: waits for tool results")]

    def _resumed(self, _: Mapping[str, Any]) -> list[Line]:
        return [Line(Tone.NOTE, "resumed")]

    def _completed(self, data: Mapping[str, Any]) -> list[Line]:
        result = data.get("result")
        text = _text_of(result)
        if text is None:
            text = json.dumps(result, ensure_ascii=False, indent=2)
        # The last step's output is the flow's, and has just been told.
        lines = [] if text == self._spoken else _lines(Tone.TEXT, text)
        return [*lines, Line(Tone.DONE, "completed" + _after(self.attempt))]

    def _failed(self, data: Mapping[str, Any]) -> list[Line]:
        reason = f"{_plain(data.get('code'))}: {_plain(data.get('message'))}"
        return [Line(Tone.FAILED, f"failed{_after(self.attempt)}: {reason}")]

    def _cancelled(self, data: Mapping[str, Any]) -> list[Line]:
        reason = f": {_plain(data['reason'])}" if data.get("reason") else ""
        return [Line(Tone.FAILED, f"cancelled{reason}")]


_TELLERS: Mapping[str, Callable[[Story, Mapping[str, Any]], list[Line]]] = {
    EntryType.QUEUED: Story._queued,
    EntryType.STARTED: Story._started,
    EntryType.RETRYING: Story._retrying,
    EntryType.PAUSED: Story._paused,
    EntryType.RESUMED: Story._resumed,
    EntryType.COMPLETED: Story._completed,
    EntryType.FAILED: Story._failed,
    EntryType.CANCELLED: Story._cancelled,
    "run_started": Story._flow_started,
    "flow_started": Story._flow_started,
    "step_started": Story._step_started,
    "step_output": Story._step_output,
    "step_completed": Story._step_completed,
    "step_error": Story._step_error,
    "step_paused_for_tool_calls": Story._tools,
}


def _after(attempts: int) -> str:
    return f" after {attempts} attempts" if attempts > 1 else ""


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _text_of(value: Any) -> str | None:
    if isinstance(value, dict):
        value = value.get("text")
    return value if isinstance(value, str) else None


def _lines(tone: Tone, text: str) -> list[Line]:
    return [Line(tone, line) for line in _printable(text).split("\n") if line.strip()]


def _printable(text: str) -> str:
    # A flow's output is somebody else's text: what a terminal would obey (ESC, CSI, bidi marks) is shown, not sent.
    return "".join(
        letter if letter.isprintable() or letter == "\n" else " " if letter.isspace() else "�" for letter in text
    )


def _plain(value: object) -> str:
    return _printable(str(value)).replace("\n", " ")


one_line = _plain
"""Any value as one line that is safe to print."""
