"""Tools: pauses and resumptions on both endpoints, made-up and written arguments, every way to answer wrongly."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.flow_server import refused


def tool(name: str, **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "parameters": schema}}


WEATHER = [tool("get_weather", location={"type": "string"}, days={"type": "integer"})]


def answered(pause: dict[str, Any], **spelling: Any) -> list[dict[str, Any]]:
    results = [{"role": "tool", "toolCallId": call["id"], "content": "sunny"} for call in pause["toolCalls"]]
    return [*pause["toolCallMessages"], *results]


def resume(pause: dict[str, Any], messages: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "executionId": pause["executionId"],
        "pausedAtStep": pause["pausedAtStep"],
        "iterationsUsed": pause["iterationsUsed"],
        "toolCallMessages": messages,
        "accumulatedOutputs": pause["accumulatedOutputs"],
        "tools": WEATHER,
    }


def test_execute_pauses_and_resumes(caller: Any) -> None:
    pause = caller.execute("acme/demo/tools-enabled", message="Tokyo", tools=WEATHER).json()
    assert pause["status"] == "tool_calls_required"
    assert pause["pausedAtStep"] == "answer"
    assert pause["iterationsUsed"] == 1
    assert pause["accumulatedOutputs"] == {}
    (call,) = pause["toolCalls"]
    assert json.loads(call["function"]["arguments"]) == {"location": "Tokyo", "days": 1}
    assert [message["role"] for message in pause["toolCallMessages"]] == ["user", "assistant"]
    body = caller.execute("acme/demo/tools-enabled", **resume(pause, answered(pause))).json()
    assert (body["status"], body["result"]) == ("completed", "Tokyo → sunny")
    assert body["executionId"] == pause["executionId"]


def test_two_rounds_on_execute_are_one_step_execution(caller: Any) -> None:
    pause = caller.execute("acme/demo/agent-tools", message="x", tools=WEATHER).json()
    second = caller.execute("acme/demo/agent-tools", **resume(pause, answered(pause))).json()
    assert second["iterationsUsed"] == 2
    body = caller.execute("acme/demo/agent-tools", **resume(second, answered(second))).json()
    assert body["result"] == "Report. x: sunny, sunny"
    run = caller.counts()["runs"][body["executionId"]]
    assert run["steps"]["research"] == {"started": 1, "resumed": 2, "completed": 1, "failed": 0}
    assert (run["executions"], run["tool_iterations"]) == (1, 2)


def test_a_stream_pauses_with_absolute_index_and_run_id(caller: Any) -> None:
    events = caller.events("acme/demo/agent-tools", message="x", tools=WEATHER, runRemaining=True)
    name, pause = events[-1]
    assert name == "step_paused_for_tool_calls"
    assert pause["runId"] == pause["executionId"] == events[0][1]["executionId"]
    assert (pause["stepId"], pause["stepIndex"], pause["iterationsUsed"]) == ("research", 0, 1)
    for _ in range(2):
        events = caller.events(
            "acme/demo/agent-tools",
            executionId=pause["executionId"],
            stepIndex=pause["stepIndex"],
            toolCallMessages=answered(pause),
            iterationsUsed=pause["iterationsUsed"],
            tools=WEATHER,
            runRemaining=True,
        )
        name, pause = events[-1]
    assert (name, pause["result"]) == ("flow_completed", "Report. x: sunny, sunny")


def test_without_tools_nothing_pauses(caller: Any) -> None:
    assert caller.execute("acme/demo/tools-enabled", message="x").json()["result"] == "x → no tools"
    body = caller.execute("acme/demo/tools-enabled", message="x", tools=WEATHER, toolChoice="none").json()
    assert body["status"] == "completed"


def test_named_calls_take_their_arguments_from_the_flow(caller: Any) -> None:
    tools = [tool("shout", loud={"type": "boolean"}), tool("add")]
    pause = caller.execute("acme/test/named-tools", message="x", parameters={"a": 40}, tools=tools).json()
    calls = [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in pause["toolCalls"]]
    assert calls == [("add", {"a": 40, "b": 2}), ("shout", {"loud": True})]


def test_a_tool_that_is_not_offered_is_not_called(caller: Any) -> None:
    pause = caller.execute("acme/test/named-tools", message="x", tools=[tool("shout")]).json()
    assert [call["function"]["name"] for call in pause["toolCalls"]] == ["shout"]
    assert caller.execute("acme/test/named-tools", message="x", tools=WEATHER).json()["result"] == {"sum": "no tools"}


def test_a_forced_tool_is_the_one_called(caller: Any) -> None:
    choice = {"type": "function", "function": {"name": "second"}}
    body = caller.execute(
        "acme/demo/tools-enabled", message="x", tools=[tool("first"), tool("second")], toolChoice=choice
    )
    assert body.json()["toolCalls"][0]["function"]["name"] == "second"


@pytest.mark.parametrize(
    "spell",
    [
        lambda call_id: {"tool_call_id": call_id, "content": "sunny", "role": "tool"},
        lambda call_id: {"toolCallId": call_id, "output": "sunny"},
    ],
)
def test_other_spellings_of_a_result_are_understood(caller: Any, spell: Any) -> None:
    pause = caller.execute("acme/demo/tools-enabled", message="x", tools=WEATHER).json()
    messages = [*pause["toolCallMessages"], spell(pause["toolCalls"][0]["id"])]
    assert caller.execute("acme/demo/tools-enabled", **resume(pause, messages)).json()["result"] == "x → sunny"


def test_a_resume_belongs_to_the_session_of_the_first_call(caller: Any) -> None:
    pause = caller.execute(
        "acme/demo/tools-enabled", message="x", tools=WEATHER, headers={"X-Session-Id": "s-1"}
    ).json()
    caller.execute("acme/demo/tools-enabled", **resume(pause, answered(pause)))
    counts = caller.counts(session_id="s-1")
    assert counts["sessions"]["s-1"]["requests"] == {"execute": 2, "step": 0, "jobs": 0}
    assert counts["sessions"]["s-1"]["executions"] == 1


def test_wrong_resumptions_arerefused(caller: Any) -> None:
    path = "acme/demo/tools-enabled"
    pause = caller.execute(path, message="x", tools=WEATHER).json()
    good = resume(pause, answered(pause))
    assert refused(caller.execute(path, **good | {"executionId": "e-0"})) == (400, "EXECUTION_ID_INVALID")
    assert refused(caller.execute("acme/demo/agent-tools", **good)) == (400, "EXECUTION_ID_INVALID")
    assert refused(caller.execute(path, **good | {"pausedAtStep": "other"})) == (400, "PAUSED_STEP_INVALID")
    assert refused(caller.execute(path, **good | {"pausedAtStep": ""})) == (400, "PAUSED_STEP_INVALID")
    mismatch = (400, "TOOL_RESULTS_MISMATCH")
    assert refused(caller.execute(path, **good | {"toolCallMessages": []})) == mismatch
    assert refused(caller.execute(path, **good | {"toolCallMessages": pause["toolCallMessages"]})) == mismatch
    stranger = {"role": "tool", "toolCallId": "call_0", "content": "?"}
    assert refused(caller.execute(path, **good | {"toolCallMessages": [*answered(pause), stranger]})) == mismatch
    foreign = {"role": "assistant", "toolCalls": [{"id": "call_0"}]}
    assert refused(caller.execute(path, **good | {"toolCallMessages": [foreign, stranger]})) == mismatch


@pytest.mark.parametrize(
    ("tools", "choice", "code"),
    [
        ([{"type": "function"}], None, "TOOLS_INVALID"),
        (["get_weather"], None, "TOOLS_INVALID"),
        ([tool("a"), tool("a")], None, "TOOLS_INVALID"),
        ([tool(f"t{number}") for number in range(65)], None, "TOOLS_INVALID"),
        ([tool("a b")], None, "TOOL_NAME_INVALID"),
        ([tool("a")], "sometimes", "TOOLS_INVALID"),
        ([tool("a")], {"type": "function", "function": {"name": "b"}}, "TOOLS_INVALID"),
    ],
)
def test_malformed_tools_arerefused(caller: Any, tools: Any, choice: Any, code: str) -> None:
    answer = caller.execute("acme/demo/tools-enabled", message="x", tools=tools, toolChoice=choice)
    assert refused(answer) == (400, code)


def test_sixty_four_tools_are_taken(caller: Any) -> None:
    tools = [tool(f"t{number}") for number in range(64)]
    assert caller.execute("acme/demo/tools-enabled", message="x", tools=tools).status_code == 200


def test_tools_for_a_flow_without_them_arerefused(caller: Any) -> None:
    answer = caller.execute("acme/demo/hello-world", message="x", tools=WEATHER)
    assert refused(answer) == (400, "TOOLS_NOT_ENABLED")
