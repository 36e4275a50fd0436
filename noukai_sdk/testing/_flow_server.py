"""This room starts a local Noukai as a process of its own, for tests that want a real server on a real socket."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlencode, urlsplit

from noukai_sdk._client import AsyncNoukai, Noukai

API_KEY = "nk_test_0123456789"
BROKE_API_KEY = "nk_test_without_credits"
_MODULE = "noukai_worker.dev.flow_server"
_NEEDED = ("noukai_worker", "starlette", "uvicorn")
# Long enough for a busy machine: an idle one takes half a second.
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0


class FlowServerFailed(Exception):
    """The flow server cannot be started, or has ended; the text says why, and what to do."""


class FlowServer:
    """A running local Noukai. `base_url` is what clients take, `url` has no path, `pid` is its process; only `api_key`
    is accepted, and `broke_api_key`, which is out of credits."""

    def __init__(self, base_url: str, pid: int) -> None:
        self.base_url = base_url
        self.pid = pid
        parts = urlsplit(base_url)
        self.url = f"{parts.scheme}://{parts.netloc}"
        self.api_key = API_KEY
        self.broke_api_key = BROKE_API_KEY
        self._address = parts.netloc

    @property
    def env(self) -> dict[str, str]:
        """The environment in which `Noukai()` finds this server."""
        return {"NOUKAI_BASE_URL": self.base_url, "NOUKAI_API_KEY": self.api_key}

    def client(self, **options: Any) -> Noukai:
        """A sync client of this server, for a `with` statement; options as for `Noukai`."""
        return Noukai(**{"api_key": self.api_key, "base_url": self.base_url, **options})

    def async_client(self, **options: Any) -> AsyncNoukai:
        """An async client of this server, for an `async with` statement; options as for `AsyncNoukai`."""
        return AsyncNoukai(**{"api_key": self.api_key, "base_url": self.base_url, **options})

    def counts(self, **filters: str) -> dict[str, Any]:
        """What was asked of the server and what it did: requests, runs, step executions.

        Narrowed by `flow` ("org/project/slug"), `session_id`, `message` and `execution_id`. Raises ValueError for others.
        """
        counts: dict[str, Any] = self._control("GET", f"counts?{urlencode(filters)}")
        return counts

    def order(
        self,
        *,
        times: int = 1,
        flow: str | None = None,
        endpoint: str | None = None,
        for_message: str | None = None,
        **manner: Any,
    ) -> None:
        """Make the server misbehave: `times` requests to `flow` and `endpoint` with the input `for_message` meet `manner`.

        Such as `order(status=503, retry_after=1)` or `order(drop_after_events=3, times=2)`. Orders are used up in turn.
        Raises ValueError for a manner that the server does not know.
        """
        order = {"times": times, "flow": flow, "endpoint": endpoint, "message": for_message, "manner": manner}
        self._control("POST", "manners", {name: value for name, value in order.items() if value is not None})

    def waiting(self) -> list[dict[str, Any]]:
        """The orders that no request has met yet, so that a test can say all its trouble took place."""
        orders: list[dict[str, Any]] = self._control("GET", "manners")["waiting"]
        return orders

    def held(self, gate: str) -> int:
        """How many executions of steps wait at a gate of the flow file."""
        waiting: int = self._control("GET", "gates")["gates"].get(gate, {}).get("waiting", 0)
        return waiting

    def release(self, gate: str) -> int:
        """Let those who wait at `gate` go on, and whoever comes later; how many waited."""
        released: int = self._control("POST", f"gates/{quote(gate)}")["released"]
        return released

    def reset(self) -> None:
        """Be as just started: no counts, no orders but those of the flow file, all gates closed."""
        self._control("POST", "reset")

    def _control(self, method: str, what: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection(self._address, timeout=30)
        with contextlib.closing(connection):
            try:
                connection.request(method, f"/_control/{what}", None if body is None else json.dumps(body))
                response = connection.getresponse()
                answer = json.loads(response.read())
            except (OSError, http.client.HTTPException) as error:
                raise FlowServerFailed(f"the flow server at {self.url} does not answer ({error})") from error
        if response.status != 200:
            raise ValueError(answer["detail"]["message"])
        return answer


@contextlib.contextmanager
def flow_server(flows: str | os.PathLike[str] | None = None) -> Iterator[FlowServer]:
    """A local Noukai on a free port while the block runs; it offers the sample flows, and those in the file `flows`.

    It ends with this process, however that ends. Raises FlowServerFailed.
    """
    _check_installed()
    command = [sys.executable, "-m", _MODULE, "--port", "0", "--api-key", API_KEY, "--broke-api-key", BROKE_API_KEY]
    if flows is not None:
        command += ["--flows", str(Path(flows))]
    # Its complaints go to a file, since nobody would empty a pipe. Its input is our lifeline: it ends when that closes.
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(  # noqa: S603 -- our own module, by our own interpreter
            [*command, "--until-input-ends"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints
        ) as process,
    ):
        try:
            yield FlowServer(_first_line(process, complaints), process.pid)
        finally:
            _stop(process)


def _check_installed() -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise FlowServerFailed(
            f"the flow server needs {' and '.join(missing)}; install it with: pip install 'noukai-worker[dev]'"
        )


def _first_line(process: subprocess.Popen[bytes], complaints: IO[bytes]) -> str:
    """The server says its base URL once it accepts connections."""
    alarm = threading.Timer(_START_SECONDS, process.kill)
    alarm.start()
    try:
        line = process.stdout.readline() if process.stdout else b""
    finally:
        alarm.cancel()
    if not line:
        process.wait()
        complaints.seek(0)
        last = complaints.read().decode(errors="replace").strip().rpartition("\n")[2]
        raise FlowServerFailed(last or f"the flow server did not start within {_START_SECONDS:g} s")
    return line.decode().strip()


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
