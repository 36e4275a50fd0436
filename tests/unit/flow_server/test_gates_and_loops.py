"""Steps that wait for a test, steps that run several times, and chance that can be repeated, on every kind of call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from noukai_worker.dev.flow_server import Failure, Flow, Step, create_app
from noukai_worker.dev.flow_server.chance import Chance

CHAPTERS = "acme/test/chapters"


def by_execute(caller: Any, path: str, **body: Any) -> tuple[str, Any]:
    answer = caller.execute(path, **body).json()
    return answer["status"], answer["result"]


def by_step(caller: Any, path: str, **body: Any) -> tuple[str, Any]:
    name, data = caller.events(path, runRemaining=True, **body)[-1]
    return ("completed", data["result"]) if name == "flow_completed" else ("failed", data["error"]["message"])


def by_job(caller: Any, path: str, **body: Any) -> tuple[str, Any]:
    job = caller.http.post(caller.url(path, "jobs"), json=body).json()["executionId"]
    caller.wait_for(lambda counts: counts["runs"][job]["status"] in ("completed", "failed"))
    state = caller.http.get(caller.url(path, f"jobs/{job}")).json()
    return state["status"], state["result"] if state["error"] is None else state["error"]


EACH_WAY = pytest.mark.parametrize("way", [by_execute, by_step, by_job])
Way = Callable[..., tuple[str, Any]]


@EACH_WAY
def test_a_loop_gives_a_list_of_its_outputs(caller: Any, way: Way) -> None:
    outputs = ["(Chapter 0 of hi)", "(Chapter 1 of hi)", "(Chapter 2 of hi)"]
    assert way(caller, CHAPTERS, message="hi") == ("completed", {"text": outputs})


@EACH_WAY
def test_templates_tools_text_and_failures_work_on_each_kind_of_call(caller: Any, way: Way) -> None:
    assert way(caller, "acme/spelling/grade-3", message="owls")[1].startswith("Exercise. Words to practise today: owls")
    assert way(caller, "acme/test/named-tools", message="x") == ("completed", {"sum": "no tools"})
    assert way(caller, "acme/test/unlucky", message="x") == ("failed", "This step was told to fail.")
    assert way(caller, "acme/test/flaky", message="x") == ("failed", "Busy.")
    assert way(caller, "acme/test/flaky", message="x") == ("completed", "second: x")
    overrides = {"first": {"prompt": "other"}}
    assert way(caller, "acme/test/flaky", message="x", blockOverrides=overrides) == ("completed", "second: other")


def test_the_events_of_a_loop(caller: Any) -> None:
    events = caller.events(CHAPTERS, message="hi")
    assert [name for name, _ in events] == [
        "run_started",
        "step_started",
        *["step_input", "step_progress"] * 3,
        "loop_completed",
        "step_completed",
        "step_paused",
    ]
    laps = [data for name, data in events if name == "step_progress"]
    assert [(lap["loopIndex"], lap["loopCount"], lap["output"]) for lap in laps] == [
        (number, 3, f"(Chapter {number} of hi)") for number in range(3)
    ]
    prompts = [data["inputData"]["prompt"] for name, data in events if name == "step_input"]
    assert prompts == [f"Chapter {number} of hi" for number in range(3)]
    (completed,) = (data for name, data in events if name == "step_completed")
    assert completed["costUsd"] == "0.003"
    assert completed["tokens"]["total"] == completed["tokens"]["prompt"] + completed["tokens"]["completion"] == 24
    (run,) = caller.counts()["runs"].values()
    assert run["steps"]["each"] == {"started": 1, "resumed": 0, "completed": 1, "failed": 0}


@EACH_WAY
def test_a_gate_holds_each_kind_of_call_until_it_is_opened(caller: Any, way: Way) -> None:
    gate = f"held {way.__name__}"
    with caller.at_once(lambda: way(caller, "acme/test/gated", message=gate)) as outcome:
        caller.wait_at_gate(gate)
        assert not outcome.done()
        assert caller.open_gate(gate) == 1
        assert outcome.result() == ("completed", gate)
    assert caller.control("GET", "gates")["gates"][gate] == {"open": True, "waiting": 0}
    assert way(caller, "acme/test/gated", message=gate)[0] == "completed", "it stays open"


def test_a_gate_can_be_closed_again_and_opened_ahead(caller: Any) -> None:
    caller.open_gate("a/b")
    assert by_execute(caller, "acme/test/gated", message="a/b")[0] == "completed"
    caller.control("DELETE", "gates/a/b")
    assert caller.control("GET", "gates")["gates"]["a/b"] == {"open": False, "waiting": 0}


def test_a_drop_comes_even_if_the_step_waits_at_a_gate(caller: Any) -> None:
    caller.order({"manner": {"drop_after_events": 2}})
    text, error = caller.until_dropped("acme/test/gated", message="nobody opens this")
    assert isinstance(error, httpx.RemoteProtocolError)
    assert text.count("\n\n") == 2


COIN = Flow(path="a/b/coin", steps=(Step(id="toss", failure=Failure(probability=0.5)),))


def tosses(seed: int | None, *, at_once: bool = False, reset_after: int | None = None) -> list[str]:
    async def scene() -> list[str]:
        transport = httpx.ASGITransport(create_app(flows={COIN.path: COIN}, seed=seed), client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://flows") as http:

            async def toss() -> str:
                headers = {"Authorization": "Bearer nk_x"}
                answer = await http.post("/api/v1/seq/a/b/coin/execute", json={"message": "x"}, headers=headers)
                return str(answer.json()["status"])

            if at_once:
                return await asyncio.gather(*(toss() for _ in range(24)))
            results = []
            for number in range(24):
                if number == reset_after:
                    await http.delete("/_control/counts")
                results.append(await toss())
            return results

    return asyncio.run(scene())


def test_a_seed_makes_chance_repeat_itself() -> None:
    first = tosses(7)
    assert set(first) == {"completed", "failed"}
    assert tosses(7) == first
    assert sorted(tosses(7, at_once=True)) == sorted(first)
    assert tosses(8) != first
    assert tosses(None) != tosses(None)


def test_a_reset_of_the_counts_begins_the_seed_s_row_anew() -> None:
    row = tosses(7, reset_after=12)
    assert row[:12] == row[12:]


def test_chance_keeps_to_its_probability() -> None:
    chance = Chance(1)
    hits = sum(chance.strikes(0.3, "step", number) for number in range(10_000))
    assert 2_800 < hits < 3_200
    assert not any(chance.strikes(0, number) for number in range(1000))
    assert all(chance.strikes(1, number) for number in range(1000))
