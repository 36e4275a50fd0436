"""Flow files: what they can say, and one clear line for every mistake."""

from __future__ import annotations

import copy
import pickle
import re
from pathlib import Path

import pytest

from noukai_worker.dev.flow_server import FlowFileError, FlowServerError, flow_file, load_flows


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "flows.toml"
    file.write_text(text)
    return file


def test_the_docstring_s_example_is_a_flow_file(tmp_path: Path) -> None:
    assert flow_file.__doc__ is not None
    example = flow_file.__doc__.split("::\n", 1)[1].split("\nPlaceholders")[0]
    (flow,) = load_flows(written(tmp_path, example)).values()
    draft, check = flow.steps
    assert (flow.path, flow.versions) == ("acme/demo/review", 3)
    assert draft.chunks is not None
    assert (draft.chunks.words, draft.chunks.delay, draft.cost_usd) == (2, 0.05, "0.0005")
    assert check.tool_rounds[0][0].name == "look_up"
    assert check.failure is not None
    assert check.failure.times == 2
    assert check.burst is not None
    assert flow.orders[0].manner.retry_after == 2


STEP = '[[flow]]\npath = "a/b/c"\n[[flow.step]]\nid = "s"\n'


@pytest.mark.parametrize(
    ("text", "place", "remedy"),
    [
        ("flow = 1 2", "", "is not TOML: .*line 1"),
        ("", "flow", "is missing; add it"),
        ('[[flow]]\npath = "a/b"\n[[flow.step]]\nid = "s"', "flow[0].path", "'a/b'"),
        ('[[flow]]\npath = "a/b/c"', "flow[0].step", "is missing"),
        ('[[flow]]\npath = "a/b/c"\nstep = []', "flow[0].step", "give at least one"),
        (STEP + "delay = -1", "flow[0].step[0].delay", "greater than or equal to 0, not -1"),
        (STEP + "delay = nan", "flow[0].step[0].delay", "not nan"),
        (STEP + "dealy = 1", "flow[0].step[0].dealy", "correct its spelling"),
        (STEP + 'output = "{mesage}"', "flow[0].step[0].output", re.escape("use one of {message}")),
        (STEP + "failure = { code = 'X' }", "flow[0].step[0].failure", "either times or probability"),
        (STEP + "failure = { times = 1, probability = 0.5 }", "flow[0].step[0].failure", "either times or probability"),
        (STEP + "output = [1]\nchunks = {}", "flow[0].step[0]", "make output a string"),
        (STEP + "tool_rounds = [[]]", "flow[0].step[0].tool_rounds[0]", "give at least one"),
        (STEP + '[[flow.step]]\nid = "s"', "flow[0]", "two steps are called 's'"),
        (STEP + "[[flow.order]]\nmanner = { status = 5 }", "flow[0].order[0].manner.status", "200, not 5"),
        (STEP + STEP, "flow[1].path", "defined twice"),
        (STEP + "loop = 0", "flow[0].step[0].loop", "greater than or equal to 1, not 0"),
        (STEP + 'gate = "{mesage}"', "flow[0].step[0].gate", re.escape("use one of {message}")),
        (STEP + "gate = 1", "flow[0].step[0].gate", "valid string, not 1"),
        (STEP + "tool_rounds = 0", "flow[0].step[0].tool_rounds", "give 1 to 1000 rounds, not 0"),
        (STEP + "tool_rounds = true", "flow[0].step[0].tool_rounds", "valid tuple, not True"),
        (STEP.replace("[[flow.step]]", "max_tool_rounds = 0\n[[flow.step]]"), "flow[0].max_tool_rounds", "not 0"),
        (STEP.replace("[[flow.step]]", "snapshots = 7\n[[flow.step]]"), "flow[0].snapshots", "valid boolean.*not 7"),
    ],
)
def test_a_mistake_is_one_line_with_place_and_remedy(tmp_path: Path, text: str, place: str, remedy: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(FlowFileError, match=remedy) as caught:
        load_flows(file)
    error = caught.value
    assert error.place == place
    assert str(error).startswith(f"{file}: {place}")
    assert "\n" not in str(error)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FlowFileError, match=r"No such file.*--flows"):
        load_flows(tmp_path / "missing.toml")
    with pytest.raises(FlowFileError, match="cannot be read"):
        load_flows(tmp_path)
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"# caf\xe9")
    with pytest.raises(FlowFileError, match="save the file as UTF-8"):
        load_flows(latin)


def test_errors_survive_pickle() -> None:
    error = FlowFileError("f.toml", "flow[0]", "is empty")
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (twin.path, twin.place, twin.problem, str(twin)) == (error.path, error.place, error.problem, str(error))
    assert isinstance(error, FlowServerError)
