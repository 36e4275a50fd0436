from __future__ import annotations

import fnmatch
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent
KNOWN = {"FROM", "ENV", "WORKDIR", "COPY", "RUN", "USER", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT", "CMD"}


class Instruction(NamedTuple):
    name: str
    rest: str


@pytest.fixture(scope="module")
def dockerfile() -> list[Instruction]:
    text = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text())
    lines = (line.strip() for line in text.splitlines())
    return [Instruction(*line.split(maxsplit=1)) for line in lines if line and not line.startswith("#")]


def only(dockerfile: list[Instruction], name: str) -> str:
    (found,) = (rest for instruction, rest in dockerfile if instruction == name)
    return found


def copied(dockerfile: list[Instruction]) -> list[str]:
    return [source for name, rest in dockerfile if name == "COPY" for source in rest.split()[:-1]]


def test_every_instruction_is_known_and_the_first_is_from(dockerfile: list[Instruction]) -> None:
    assert {name for name, _ in dockerfile} <= KNOWN
    assert dockerfile[0] == ("FROM", "python:3.11-slim")


def test_what_is_copied_exists_and_is_not_ignored(dockerfile: list[Instruction]) -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    allowed = {line.removeprefix("!").rstrip("/") for line in lines if line.startswith("!")}
    sources = copied(dockerfile)
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert source.rstrip("/") in allowed, source


def test_the_build_has_all_that_the_package_names(dockerfile: list[Instruction], tmp_path: Path) -> None:
    # What is copied is enough to build from: the build's metadata step runs on it alone.
    for source in copied(dockerfile):
        path = ROOT / source
        if path.is_dir():
            shutil.copytree(path, tmp_path / source, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, tmp_path)
    pyproject = (tmp_path / "pyproject.toml").read_text()
    wheel = pyproject.partition("[tool.hatch.build.targets.wheel]")[2].partition("[")[2].partition("]")[0]
    named = [*re.findall(r'^readme = "(.+)"', pyproject, re.MULTILINE), *re.findall(r'"(\w+)"', wheel)]
    assert {"README.md", "noukai_sdk", "noukai_worker"} <= set(named)
    for name in named:
        assert (tmp_path / name).exists(), name
    found = {path.relative_to(ROOT / "noukai_worker") for path in (ROOT / "noukai_worker").rglob("*.lua")}
    assert found == {
        path.relative_to(tmp_path / "noukai_worker") for path in (tmp_path / "noukai_worker").rglob("*.lua")
    }


def test_nobody_is_root_when_it_runs(dockerfile: list[Instruction]) -> None:
    names = [name for name, _ in dockerfile]
    user = only(dockerfile, "USER")
    assert user not in ("root", "0")
    assert any(name == "RUN" and "useradd" in rest and fnmatch.fnmatch(rest, f"*{user}*") for name, rest in dockerfile)
    last_run = max(index for index, name in enumerate(names) if name == "RUN")
    assert last_run < names.index("USER") < names.index("ENTRYPOINT")


def test_the_entry_point_runs(dockerfile: list[Instruction]) -> None:
    entry, arguments = json.loads(only(dockerfile, "ENTRYPOINT")), json.loads(only(dockerfile, "CMD"))
    command = [str(BIN / entry[0]), *entry[1:], *arguments]
    answer = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "COLUMNS": "200"}
    )
    assert answer.returncode == 0, answer.stderr
    commands = ("demo", "dev", "flow-server", "worker", "stream", "web", "enqueue", "watch", "show", "runs", "cancel")
    assert all(f" {name} " in answer.stdout for name in commands)


def test_environment_is_written_as_pairs(dockerfile: list[Instruction]) -> None:
    pairs = itertools.chain.from_iterable(rest.split() for name, rest in dockerfile if name == "ENV")
    assert all(re.fullmatch(r"[A-Z_]+=\S+", pair) for pair in pairs)
