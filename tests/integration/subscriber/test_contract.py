"""docs/channel.md, kept by whoever knows nothing but that page: keys, ids, fields, texts, and how to attach."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest
import redis

import noukai_worker
from noukai_worker.runs import TERMINAL_TYPES, EntryType
from tests.support.processes import until

from .conftest import Writer

pytestmark = pytest.mark.integration

PAGE = Path(noukai_worker.__file__).parents[1] / "docs" / "channel.md"


def follow(client: Any, run_id: str, after: int = 0) -> list[dict[str, Any]]:
    """The page's algorithm, word for word."""
    channel, log = f"noukai:{{{run_id}}}:events", f"noukai:{{{run_id}}}:log"
    seen: list[dict[str, Any]] = []
    position = after

    def read_log() -> None:
        nonlocal position
        while entries := client.xrange(log, f"{position + 1}-0", "+", count=500):
            for entry_id, fields in entries:
                assert set(fields) == {b"entry"}
                entry = json.loads(fields[b"entry"])
                assert entry_id == b"%d-%d" % (entry["seq"], entry["data"].get("redriven", False))
                assert entry["seq"] == position + 1
                seen.append(entry)
                position = entry["seq"]

    with client.pubsub() as bell:
        bell.subscribe(channel)
        assert bell.get_message(timeout=10)["type"] == "subscribe"
        read_log()
        while not (seen and seen[-1]["type"] in ("run.completed", "run.failed", "run.cancelled")):
            message = bell.get_message(timeout=3)
            if message is None:
                read_log()
                continue
            entry = json.loads(message["data"])
            if entry["seq"] == position + 1 and entry["type"] != "run.failed":
                seen.append(entry)
                position = entry["seq"]
            elif entry["seq"] > position:
                read_log()
    return seen


def test_a_client_that_knows_only_the_page_gets_every_entry(redis_url: str, writer: Writer) -> None:
    run_id = writer.new()
    writer.write(run_id, 3)

    def write() -> None:
        for _ in range(50):
            writer.write(run_id, 2)
        writer.end(run_id)

    thread = threading.Thread(target=write)
    thread.start()
    with redis.Redis.from_url(redis_url) as client:
        entries = follow(client, run_id)
        thread.join()
        assert [entry["seq"] for entry in entries] == [*range(1, 107)]
        assert follow(client, run_id, after=104) == entries[104:]
    for entry in entries:
        assert list(entry) == ["run_id", "seq", "type", "at", "attempt", "data"]
        assert entry["run_id"] == run_id
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry["at"])
        assert isinstance(entry["data"], dict)
    assert [entry["attempt"] for entry in entries[:3]] == [0, 1, 1]


def test_a_redriven_run_is_one_log_without_a_hole_and_with_one_end(redis_url: str, writer: Writer) -> None:
    run_id = writer.new()
    writer.write(run_id, 2)
    with redis.Redis.from_url(redis_url) as client:
        failed = writer.fail(run_id)
        before = follow(client, run_id)
        assert (len(before), before[-1]["type"]) == (failed, "run.failed")
        with client.pubsub() as bell:
            bell.subscribe(f"noukai:{{{run_id}}}:events")
            assert bell.get_message(timeout=10)["type"] == "subscribe"
            writer.redrive(run_id)
            replaced = json.loads(bell.get_message(timeout=10)["data"])
        assert (replaced["seq"], replaced["type"], replaced["data"]["redriven"]) == (failed, "run.retrying", True)
        assert {"code", "message"} <= set(replaced["data"])

        came_back: list[dict[str, Any]] = []
        thread = threading.Thread(target=lambda: came_back.extend(follow(client, run_id, after=failed)))
        thread.start()
        writer.write(run_id, 3)
        writer.end(run_id)
        thread.join()
        whole = follow(client, run_id)
    assert [entry["seq"] for entry in whole] == [*range(1, failed + 6)]
    assert whole[: failed - 1] == before[:-1]
    assert whole[failed - 1] == replaced
    assert came_back == whole[failed:]
    assert [entry["type"] in TERMINAL_TYPES for entry in whole] == [False] * (len(whole) - 1) + [True]


def test_an_end_that_is_taken_back_at_once_is_not_followed(redis_url: str, writer: Writer) -> None:
    """Attached, with the message of the end still on its way when the run is redriven."""
    run_id = writer.new()
    entries: list[dict[str, Any]] = []
    with redis.Redis.from_url(redis_url) as client:
        thread = threading.Thread(target=lambda: entries.extend(follow(client, run_id)))
        thread.start()
        until(lambda: client.pubsub_numsub(f"noukai:{{{run_id}}}:events")[0][1] == 1, "it is attached")
        writer.fail_and_redrive(run_id)
        writer.end(run_id)
        thread.join()
    assert [entry["type"] for entry in entries] == [
        "run.queued",
        "run.started",
        "run.retrying",
        "run.started",
        "run.completed",
    ]


def test_the_message_and_the_log_hold_the_same_text(redis_url: str, writer: Writer) -> None:
    run_id = writer.new()
    with redis.Redis.from_url(redis_url) as client, client.pubsub() as bell:
        bell.subscribe(f"noukai:{{{run_id}}}:events")
        assert bell.get_message(timeout=10)["type"] == "subscribe"
        writer.write(run_id, 2)
        writer.end(run_id)
        messages = [bell.get_message(timeout=10)["data"] for _ in range(3)]
        log = client.xrange(f"noukai:{{{run_id}}}:log", "(2-0", "+")
        assert messages == [fields[b"entry"] for _, fields in log]


def test_the_page_names_every_type_of_ours() -> None:
    text = PAGE.read_text()
    for kind in EntryType:
        assert f"`{kind}`" in text
    terminal = re.search(r"Terminal types: (.*)\.\n", text)
    assert terminal
    assert {word.strip("` ") for word in terminal[1].split(",")} == set(TERMINAL_TYPES)
