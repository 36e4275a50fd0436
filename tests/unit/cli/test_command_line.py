from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from noukai_worker import settings
from noukai_worker.__main__ import main
from noukai_worker.cli.app import _parameter

NOBODY = "redis://127.0.0.1:1/0"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("NOUKAI_REDIS_URL", NOBODY)
    monkeypatch.delenv("NOUKAI_API_KEY", raising=False)
    settings.from_environment.cache_clear()
    yield
    settings.from_environment.cache_clear()


@pytest.mark.parametrize(
    ("line", "status", "word"),
    [
        ("enqueue", 2, "FLOW"),
        ("enqueue a/b/c --mode walk", 2, "--mode"),
        ("watch r1 --after -1", 2, "--after"),
        ("runs --limit 0", 2, "--limit"),
        ("runs --status lost", 2, "--status"),
        ("web --port 70000", 2, "--port"),
        ("worker --concurrency 0", 2, "--concurrency"),
        ("nix", 2, "nix"),
        ("show --nix r1", 2, "--nix"),
        ("enqueue Not-a-flow", 1, "org/project/slug"),
        ("enqueue a/b/c --delay -1", 1, "delay"),
        ("enqueue a/b/c --param x", 1, "name=value"),
        ("enqueue a/b/c --idempotency-key=", 1, "idempotency key"),
        ("enqueue a/b/c --credential nk_test_1", 1, "not the key itself"),
        ("enqueue a/b/c", 1, "NOUKAI_REDIS_URL"),
        ("show r1", 1, "NOUKAI_REDIS_URL"),
        ("runs", 1, "NOUKAI_REDIS_URL"),
        ("cancel r1", 1, "NOUKAI_REDIS_URL"),
        ("resume r1", 1, "--result ID=CONTENT"),
        ("resume r1 --result a", 1, "--result a"),
        ("resume r1 --result a=1 --result a=2", 1, "answered twice"),
        ("resume r1 --result a=1 --results f", 1, "--result ID=CONTENT"),
        ("resume r1 --results /nowhere.json", 1, "/nowhere.json"),
        ("resume r1 --results /dev/null", 1, "JSON"),
        ("resume r1 --result a=1", 1, "NOUKAI_REDIS_URL"),
        ("resume --result a=1", 2, "RUN"),
        ("dead list --limit 0", 2, "--limit"),
        ("dead list --since yesterday", 1, "2026-11-24T10:00Z"),
        ("dead list --since 2026-11-24T10:00", 1, "zone"),
        ("dead list --flow x", 1, "org/project/slug"),
        ("dead list", 1, "NOUKAI_REDIS_URL"),
        ("dead redrive", 1, "--all"),
        ("dead redrive r1 --all", 1, "--all"),
        ("dead redrive r1 --code x", 1, "--all"),
        ("dead redrive r1", 1, "NOUKAI_REDIS_URL"),
        ("dead redrive --all --since 2x", 1, "no moment"),
        ("dead nix", 2, "nix"),
        ("dead", 2, "command"),
        ("limits", 1, "NOUKAI_REDIS_URL"),
        ("limits --lift", 1, "name the credential"),
        ("enqueue a/b/c --tenant=", 1, "tenant"),
        ("worker", 1, "NOUKAI_API_KEY"),
        ("stream", 1, "NOUKAI_API_KEY"),
        ("dev --redis-port 0", 1, "--redis-port"),
        ("dev --flow-port 5173 --web-port 5173", 1, "--web-port"),
        ("flow-server --flows /nowhere.toml", 1, "/nowhere.toml"),
        ("flow-server --port 0 --credits nk_x", 1, "KEY=VALUE"),
        ("flow-server --port 0 --project nk_x=acme", 1, "org/project"),
        ("web --host 0.0.0.0 --open", 1, "127.0.0.1"),
    ],
)
def test_a_mistake_is_one_line_and_a_status(
    line: str, status: int, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.split()) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert word in err


@pytest.mark.parametrize("command", ["worker", "stream"])
def test_a_worker_without_redis_says_so(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NOUKAI_API_KEY", "nk_test_1")
    assert main([command]) == 1
    assert capsys.readouterr().err.startswith(f"error: no Redis at {NOBODY} (")


def test_bad_settings_are_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("NOUKAI_WORKER_LEASE", "soon")
    assert main(["worker"]) == 1
    assert capsys.readouterr().err.startswith("error: NOUKAI_WORKER_LEASE: ")


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("noukai-worker ")
    assert main([]) == 2
    assert "enqueue" in capsys.readouterr().out
    assert main(["watch", "--help"]) == 0
    assert "--after" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "parameter"),
    [
        ("a=1", ("a", 1)),
        ("a=true", ("a", True)),
        ('a={"b": [1]}', ("a", {"b": [1]})),
        ("a=one two", ("a", "one two")),
        ("a=b=c", ("a", "b=c")),
        ('a="1"', ("a", "1")),
        ("a=", ("a", "")),
    ],
)
def test_parameters_are_json_or_text(text: str, parameter: tuple[str, object]) -> None:
    assert _parameter(text) == parameter


@pytest.mark.parametrize(
    ("missing", "line", "extra"),
    [
        ("typer", ["runs"], "cli"),
        ("rich", ["runs"], "cli"),
        ("fastapi", ["web"], "web"),
        ("uvicorn", ["web"], "web"),
        ("starlette", ["flow-server"], "web"),
    ],
)
def test_a_missing_extra_is_named(missing: str, line: list[str], extra: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from noukai_worker.__main__ import main; sys.exit(main({line!r}))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (process.returncode, process.stdout) == (1, "")
    assert process.stderr == f'error: {missing} is not installed: pip install "noukai-worker[{extra}]"\n'
