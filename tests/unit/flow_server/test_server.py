"""Starting and stopping: in a thread, as a process, on a port that is taken."""

from __future__ import annotations

import ast
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from noukai_worker.dev import flow_server
from noukai_worker.dev.flow_server import FlowServerError, running, serve, server
from noukai_worker.dev.flow_server.__main__ import main
from noukai_worker.dev.flow_server.server import _listening


def test_running_leaves_no_thread_and_no_port_even_with_streams_open() -> None:
    headers = {"Authorization": "Bearer nk_x"}
    before = set(threading.enumerate())
    with ExitStack() as stack:
        client = stack.enter_context(httpx.Client(trust_env=False, headers=headers))
        with running() as server:
            url = f"{server.base_url}/seq/acme/demo/slow-essay/step"
            answer = stack.enter_context(client.stream("POST", url, json={"message": "x"}))
            pieces = answer.iter_bytes()
            next(pieces)
        with pytest.raises(httpx.RemoteProtocolError):
            list(pieces)
    assert set(threading.enumerate()) <= before
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url, trust_env=False)


def test_a_port_that_is_taken_is_one_clear_line(capsys: pytest.CaptureFixture[str]) -> None:
    with running() as server:
        with pytest.raises(FlowServerError, match=f"port {server.port} .* already in use.*--port"):
            serve(port=server.port)
        with pytest.raises(FlowServerError, match="already in use"), running(port=server.port):
            pass
        assert main(["--port", str(server.port)]) == 1
    assert capsys.readouterr().err == (
        f"flow server: port {server.port} on 127.0.0.1 is already in use; "
        "stop its owner or choose another with --port\n"
    )


@pytest.mark.parametrize(
    ("host", "port", "remedy"),
    [
        ("127.0.0.1", 70000, "choose 0 to 65535 with --port"),
        ("192.0.2.1", 0, r"cannot listen.*--host"),
        ("no such host", 0, r"cannot listen.*--host"),
    ],
)
def test_addresses_that_cannot_be_had(host: str, port: int, remedy: str) -> None:
    with pytest.raises(FlowServerError, match=remedy):
        serve(host, port)


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_localhost_is_served_on_both_addresses() -> None:
    with running() as server:
        for host in ("localhost", "[::1]", "127.0.0.1"):
            assert httpx.get(f"http://{host}:{server.port}/_control/counts", trust_env=False).status_code == 200


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_localhost_never_leads_to_another_server(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as other:
        port = other.getsockname()[1]
        with (
            pytest.raises(FlowServerError, match=f"port {port} on ::1 is already in use"),
            _listening("127.0.0.1", port),
        ):
            pass
        socket.create_server(("127.0.0.1", port)).close()  # given back
        bound, offered = server._bound, iter([port])
        monkeypatch.setattr(
            server, "_bound", lambda host, wanted: bound(host, wanted or next(offered, 0))
        )  # as if that port had come up when any free one would do
        with _listening("127.0.0.1", 0) as (sockets, chosen):
            assert len(sockets) == 2
            assert chosen.port != port


def test_listening_sockets_make_asyncio_send_at_once() -> None:
    # asyncio sets TCP_NODELAY only on sockets whose protocol is known; Nagle would hold back each frame for 40 ms.
    with _listening("127.0.0.1", 0) as (sockets, _):
        assert {sock.proto for sock in sockets} == {socket.IPPROTO_TCP}


@contextmanager
def process(*options: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "noukai_worker.dev.flow_server", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_the_process_says_its_base_url_and_ends_quietly(tmp_path: Path, how: signal.Signals) -> None:
    flows = tmp_path / "flows.toml"
    flows.write_text('[[flow]]\npath = "my/own/flow"\n[[flow.step]]\nid = "s"\noutput = "mine"\n')
    port_file = tmp_path / "port"
    with process("--flows", str(flows), "--port-file", str(port_file), "--api-key", "nk_a") as child:
        assert child.stdout is not None
        base_url = child.stdout.readline().strip()
        assert base_url == f"http://127.0.0.1:{port_file.read_text().strip()}/api/v1"
        answer = httpx.post(
            f"{base_url}/seq/my/own/flow/execute",
            json={"message": "x"},
            headers={"Authorization": "Bearer nk_a"},
            trust_env=False,
        )
        assert answer.json()["result"] == "mine"
        child.send_signal(how)
        out, err = child.communicate(timeout=20)
        assert (out, err) == ("", "")
        assert child.returncode in (0, -how)


def test_a_bad_flow_file_ends_the_process_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flows = tmp_path / "flows.toml"
    flows.write_text("[[flow]]\n")
    assert main(["--flows", str(flows)]) == 1
    assert capsys.readouterr().err == f"flow server: {flows}: flow[0].path: is missing; add it\n"


def test_a_port_file_that_cannot_be_written_ends_the_process_with_one_line(tmp_path: Path) -> None:
    file = tmp_path / "missing" / "port"
    with process("--port-file", str(file)) as child:
        out, err = child.communicate(timeout=20)
    remedy = "cannot write {} (No such file or directory); check the path given as --port-file"
    assert (child.returncode, out, err) == (1, "", f"flow server: {remedy.format(file)}\n")


def test_it_speaks_the_protocol_on_its_own() -> None:
    folder = Path(flow_server.__path__[0])
    for file in folder.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level <= 1, f"{file.name} reaches out of its folder"
                assert node.level == 1 or not (node.module or "").startswith("noukai"), file.name
            elif isinstance(node, ast.Import):
                assert not any(name.name.startswith("noukai") for name in node.names), file.name
