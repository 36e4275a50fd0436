from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noukai_worker.runs import State
from noukai_worker.runs.answers import Page
from noukai_worker.runs.operations import parse_entry
from noukai_worker.subscriber import window as module
from noukai_worker.subscriber.window import Cursor, Window, seq_of

PAGE = 3


def raw(seq: int, kind: str = "step_output", *, size: int = 0) -> bytes:
    entry = {
        "run_id": "r",
        "seq": seq,
        "type": kind,
        "at": "2026-11-22T06:00:00.123Z",
        "attempt": 1,
        "data": {"text": "x" * size},
    }
    return json.dumps(entry, separators=(",", ":")).encode()


@dataclass
class Run:
    """A log of `length` entries of which `written` exist; the last is terminal."""

    length: int
    written: int = 0
    entries: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.entries = [*map(raw, range(1, self.length)), raw(self.length, "run.completed")]

    def page(self, after: int, limit: int) -> Page:
        state = State.COMPLETED if self.written == self.length else State.RUNNING
        return Page(state, self.written, tuple(map(parse_entry, self.entries[after : self.written][:limit])))


def step(cursor: Cursor, run: Run) -> list[int]:
    """What a reader does when it is woken: take, else ask the log if it is behind."""
    entries = cursor.take()
    if not entries and cursor.behind:
        entries = cursor.fill(run.page(cursor.position, min(cursor.limit, PAGE)))
    return [entry.seq for entry in entries]


ACTIONS = st.tuples(
    st.sampled_from(["write", "write", "message", "message", "attach", "step", "forget", "look"]),
    st.integers(0, 10_000),
)


@given(st.integers(1, 30), st.integers(1, 8), st.lists(ACTIONS, min_size=20, max_size=80))
def test_every_entry_once_and_in_order_whatever_the_channel_does(
    length: int, limit: int, actions: list[tuple[str, int]]
) -> None:
    run, window = Run(length), Window(limit)
    readers: list[tuple[Cursor, list[int]]] = []
    for action, n in [("attach", 0), *actions]:
        if action == "write":
            run.written = min(length, run.written + n % 5)
        elif action == "message" and run.written:  # any that was published: late, twice, out of turn; or never
            seq = n % run.written + 1
            news = window.newest < seq
            assert window.offer(seq, run.entries[seq - 1]) is news
        elif action == "attach":
            after = n % (run.written + 1)
            readers.append((Cursor(window, after), [after]))
        elif action == "step":
            cursor, seen = readers[n % len(readers)]
            seen.extend(step(cursor, run))
        elif action == "forget":
            window.forget(min(cursor.position for cursor, _ in readers))
        elif action == "look":
            window.know(run.written)
        assert len(window) <= limit

    run.written = length
    window.know(length)  # the timer looks at the log of a silent run
    for cursor, seen in readers:
        while not (cursor.idle or cursor.ended):
            seen.extend(step(cursor, run))
        assert cursor.ended
        assert seen == list(range(seen[0], length + 1))


@dataclass
class Redriven(Run):
    """A run that fails with entry `failure`, and when it is redriven goes on to complete with entry `length`."""

    failure: int = 1
    redriven: bool = False
    published: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.entries[self.failure - 1] = raw(self.failure, "run.failed")

    def write(self, count: int) -> None:
        end = self.length if self.redriven else self.failure
        new = self.entries[self.written : min(end, self.written + count)]
        self.written += len(new)
        self.published += new

    def redrive(self) -> None:
        if self.written == self.failure and not self.redriven:
            self.redriven = True
            self.entries[self.failure - 1] = raw(self.failure, "run.retrying")
            self.published.append(self.entries[self.failure - 1])

    def page(self, after: int, limit: int) -> Page:
        page = super().page(after, limit)
        return page if self.redriven or self.written < self.failure else Page(State.FAILED, page.last, page.entries)


class Watcher:
    """A reader of such a run, and what it has seen."""

    def __init__(self, window: Window, after: int) -> None:
        self.cursor = Cursor(window, after)
        self.after = after
        self.seen: list[str] = []

    def look(self, run: Redriven) -> None:
        if self.cursor.ended:
            return
        entries = self.cursor.take()
        if not entries and self.cursor.behind:
            entries = self.cursor.fill(run.page(self.cursor.position, min(self.cursor.limit, PAGE)))
        assert [entry.seq for entry in entries] == list(
            range(self.after + len(self.seen) + 1, self.cursor.position + 1)
        )
        self.seen += [entry.type for entry in entries]
        assert not set(self.seen[:-1]) & {"run.failed", "run.completed"}
        assert not (run.redriven and any(entry.type == "run.failed" for entry in entries)), "it was taken back"

    def finish(self, run: Redriven) -> None:
        while not (self.cursor.idle or self.cursor.ended):
            self.look(run)
        assert self.cursor.ended
        assert self.cursor.position == run.length or self.seen[-1:] in ([], ["run.failed"])


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 8), st.lists(ACTIONS, min_size=20, max_size=80))
def test_a_redriven_run_is_read_as_one_that_never_ended_or_as_one_that_goes_on(
    failure: int, more: int, limit: int, actions: list[tuple[str, int]]
) -> None:
    run, window = Redriven(failure + more, failure=failure), Window(limit)
    watchers = [Watcher(window, 0)]
    for action, n in actions:
        if action == "write":
            run.write(n % 5)
        elif action == "message" and run.published:
            text = run.published[n % len(run.published)]
            window.offer(seq_of(text) or 0, text)
        elif action == "attach":
            watchers.append(Watcher(window, n % (run.written + 1)))
        elif action == "step":
            watchers[n % len(watchers)].look(run)
        elif action == "forget":
            run.redrive()

    run.write(failure)
    run.redrive()
    run.write(more)
    window.know(run.length)
    # Who has seen the end comes back.
    back = [Watcher(window, one.cursor.position) for one in watchers if one.cursor.ended]
    for watcher in watchers + back:
        watcher.finish(run)
    assert all(watcher.cursor.position == run.length for watcher in back)


def test_an_end_that_was_taken_back_is_not_handed_out() -> None:
    run, window = Redriven(6, failure=3), Window(10)
    slow = Cursor(window, 0)
    run.write(1)
    assert step(slow, run) == [1]
    run.write(2)
    for text in run.published[1:]:
        assert window.offer(seq_of(text) or 0, text)
    run.redrive()  # its message is lost
    run.write(1)
    assert window.offer(4, run.entries[3])
    for cursor in (slow, Cursor(window, 2)):
        entries = cursor.take() or cursor.fill(run.page(cursor.position, PAGE))
        assert [entry.type for entry in entries][-2:] == ["run.retrying", "step_output"]
        assert not cursor.ended


def test_live_entries_need_no_log() -> None:
    window = Window(10)
    cursor = Cursor(window, 0)
    assert cursor.fill(Run(5).page(0, 100)) == ()  # attached: nothing is written yet
    for seq in (1, 2):
        assert window.offer(seq, raw(seq))
    assert [entry.seq for entry in cursor.take()] == [1, 2]
    assert cursor.idle


def test_nothing_is_taken_before_the_log_was_read() -> None:
    window = Window(10)
    window.offer(1, raw(1))
    cursor = Cursor(window, 0)
    assert cursor.take() == ()
    assert cursor.behind


def test_a_hole_is_filled_from_the_log() -> None:
    run, window = Run(9, written=5), Window(10)
    cursor = Cursor(window, 2)
    assert step(cursor, run) == [3, 4, 5]
    run.written = 8
    assert window.offer(8, run.entries[7])
    assert step(cursor, run) == [6, 7, 8]
    assert not window.offer(7, run.entries[6])
    assert cursor.idle


def test_an_entry_is_parsed_once_for_all_readers() -> None:
    window = Window(10)
    window.offer(1, raw(1))
    assert window.after(0)[0] is window.after(0)[0]


def test_a_window_is_bounded_in_entries_and_bytes() -> None:
    window = Window(3)
    for seq in range(1, 10):
        window.offer(seq, raw(seq))
    assert len(window) == 3
    assert window.after(5) == []
    assert [entry.seq for entry in window.after(6)] == [7, 8, 9]

    window = Window(1_000, size=1_000)
    for seq in range(1, 20):
        window.offer(seq, raw(seq, size=300))
    assert len(window) == 2
    window.offer(20, raw(20, size=3_000))
    assert len(window) == 0
    assert window.newest == 20


def test_pages_stay_near_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE_BYTES", 10_000)
    cursor = Cursor(Window(10), 0)

    def fill(first: int, size: int) -> int:
        cursor.fill(Page(State.RUNNING, 100, (parse_entry(raw(first, size=size)),)))
        return cursor.limit

    assert fill(1, 2_000) == 4
    assert fill(2, 50_000) == 1
    assert fill(3, 0) == 10_000 // len(raw(3))


def test_a_finished_run_with_nothing_more_has_ended() -> None:
    run = Run(3, written=3)
    cursor = Cursor(Window(10), 3)
    assert step(cursor, run) == []
    assert cursor.ended


def test_a_log_that_changed_is_asked_again() -> None:
    window = Window(10)
    window.offer(4, raw(4))
    window.reset()
    assert (len(window), window.newest) == (0, 0)
    assert window.offer(1, raw(1))


def test_the_number_is_read_without_parsing_and_from_any_other_writing() -> None:
    assert seq_of(raw(17)) == 17
    assert seq_of(raw(17)[:40] + b"broken") == 17
    spaced = json.dumps({**json.loads(raw(3)), "run_id": 'quoted "id" \\'}, sort_keys=True, indent=1)
    assert seq_of(spaced.encode()) == 3
    for rubbish in (b"", b"rubbish", b"{}", b"[]", b"7", b'{"run_id":"r"}', b'{"run_id":"r","seq":"x"}', b"\xff"):
        assert seq_of(rubbish) is None


@given(st.binary(max_size=200))
def test_no_message_can_break_the_reader(message: bytes) -> None:
    seq = seq_of(message)
    assert seq is None or seq >= 0
