"""What the server has written before a connection ends is heard, whoever ends it."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import trustme

from noukai_sdk import AsyncNoukai, StreamInterruptedError
from noukai_sdk._http import senders
from tests.support.sockets import HEAD, Call, Server, never


@pytest.fixture(params=["tcp", "tls"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[Server]:
    tls = None
    if request.param == "tls":
        authority = trustme.CA()
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(tls)
        senders.tls_context.cache_clear()
    with Server(tls=tls) as running:
        yield running
    senders.tls_context.cache_clear()


class Speaker:
    """Says how the run begins; once asked, that a step has ended, and then what `after` does."""

    def __init__(self, server: Server, after: Any) -> None:
        self._after = after
        self._server = server
        self._asked = asyncio.Event()
        self._done = threading.Event()
        server.answer = self

    async def __call__(self, call: Call) -> None:
        await call.write(HEAD)
        await call.frames("run_started")
        await self._asked.wait()
        await call.frames("step_completed")
        if self._after is None:
            call.writer.close()
        self._done.set()
        if self._after is not None:
            await self._after()

    def speak(self) -> None:
        """Return when it has spoken; the caller's event loop hears nothing meanwhile."""
        self._server._loop.call_soon_threadsafe(self._asked.set)
        assert self._done.wait(10)


@pytest.mark.parametrize("own", [True, False], ids=["our-transport", "httpx"])
def test_half_closing_hears_what_was_on_its_way(server: Server, own: bool) -> None:
    speaker = Speaker(server, never)
    server.is_watching = True

    async def main() -> None:
        async with httpx.AsyncClient() as http:
            client = AsyncNoukai("nk_x", base_url=server.url, max_retries=0, http_client=None if own else http)
            stream = client.flow("a/b/c").events()
            assert stream.half_close() is False  # nothing was sent yet
            assert (await anext(stream)).event_type == "run_started"
            speaker.speak()
            assert stream.half_close() is True
            assert (await anext(stream)).event_type == "step_completed"
            with pytest.raises(StreamInterruptedError):  # the server would never have ended it by itself
                await anext(stream)
            assert stream.checkpoint.step_index == 1
            assert stream.half_close() is False
            await client.aclose()

    asyncio.run(main())


def test_what_came_before_the_connection_broke_is_not_lost(server: Server) -> None:
    speaker = Speaker(server, None)

    async def main() -> None:
        async with AsyncNoukai("nk_x", base_url=server.url, max_retries=0) as client:
            stream = client.flow("a/b/c").events()
            assert (await anext(stream)).event_type == "run_started"
            speaker.speak()
            assert stream._batches._response is not None
            connected = stream._batches._response.extensions["network_stream"]
            async with asyncio.timeout(10):
                # Nobody reads while it comes and breaks.
                while connected.get_extra_info("socket"):  # noqa: ASYNC110 -- there is no event for it
                    await asyncio.sleep(0)
            assert (await anext(stream)).event_type == "step_completed"
            with pytest.raises(StreamInterruptedError):
                await anext(stream)
            assert stream.checkpoint.step_index == 1

    asyncio.run(main())
