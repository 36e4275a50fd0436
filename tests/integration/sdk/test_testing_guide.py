"""Every example of docs/testing.md is run as it stands: programs as programs, tests by pytest, with what they build on."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration
GUIDE = (Path(__file__).parents[3] / "docs" / "testing.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
PLUGIN, TESTS, FLOWS = (
    next(example for example in EXAMPLES if mark in example)
    for mark in ("pytest_plugins", "def test_greeting", "def noukai_flows")
)
PROGRAMS = [example for example in EXAMPLES if example not in (PLUGIN, TESTS, FLOWS)]


def python(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("example", PROGRAMS, ids=range(len(PROGRAMS)))
def test_a_program_runs(tmp_path: Path, example: str) -> None:
    done = python("-c", example, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_tests_pass_and_flows_of_one_s_own_are_offered(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "conftest.py").write_text(PLUGIN + FLOWS)
    (tmp_path / "flows.toml").write_text('[[flow]]\npath = "acme/tests/mine"\n[[flow.step]]\nid = "echo"\n')
    (tmp_path / "test_mine.py").write_text(
        TESTS
        + "\n\ndef test_mine(noukai_server, noukai_servers):\n"
        + "    with noukai_server.client() as client:\n"
        + "        assert client.flow('acme/tests/mine').execute('Ada').output == 'Ada'\n"
        + "    assert noukai_servers('flows.toml') is noukai_server\n"
        + "    assert noukai_servers().url != noukai_server.url\n"
    )
    done = python("-m", "pytest", "-q", "-p", "no:cacheprovider", folder=tmp_path)
    assert "4 passed" in done.stdout, done.stdout + done.stderr


def test_every_kind_of_failure_is_in_the_table() -> None:
    from typing import get_args

    from noukai_sdk.testing import FailureKind

    row = next(line for line in GUIDE.splitlines() if line.startswith("| `Exchange.failing"))
    assert set(re.findall(r"`(\w+)`", row)) >= set(get_args(FailureKind))
