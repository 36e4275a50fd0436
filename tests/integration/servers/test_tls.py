"""`rediss://`: run store, hub, broker and result backend speak TLS, and check whom they speak to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery.result import AsyncResult

from noukai_sdk.testing import FlowServer
from noukai_worker import enqueue, subscribe
from noukai_worker.errors import StoreUnavailable
from noukai_worker.runs import AsyncRunStore, RunStore, State, operations
from noukai_worker.settings import Settings
from noukai_worker.tasks import app as apps
from tests.integration.conftest import House, installed
from tests.support.tls import Certificates, encrypted

pytestmark = pytest.mark.integration


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "certificates")


@pytest.fixture
def port(tmp_path: Path, certificates: Certificates) -> Iterator[int]:
    with encrypted(tmp_path / "redis", certificates) as port:
        yield port


@pytest.fixture
def tls_house(port: int, certificates: Certificates, flow_server: FlowServer, tmp_path: Path) -> Iterator[House]:
    url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificates.authority}"
    with installed(Settings(redis_url=url, base_url=flow_server.base_url), flow_server, tmp_path) as house:
        yield house


@pytest.mark.parametrize("mode", ["stream", "execute"])
def test_a_run_is_worked_on_and_watched_over_tls(tls_house: House, mode: str) -> None:
    tls_house.worker(mode)
    run = enqueue("acme/spelling/grade-3", message="x", mode=mode)  # type: ignore[arg-type]

    async def watch() -> list[int]:
        return [entry.seq async for entry in subscribe(run.id)]

    seen = asyncio.run(watch())
    assert seen == [entry.seq for entry in subscribe(run.id)] == [entry.seq for entry in tls_house.log(run.id)]
    assert tls_house.view(run.id).state is State.COMPLETED
    assert AsyncResult(run.id, app=apps.current()).get(timeout=20) == run.result()


def test_a_server_whose_certificate_nobody_vouches_for_is_refused(port: int) -> None:
    url = f"rediss://127.0.0.1:{port}/0"
    with pytest.raises(StoreUnavailable, match="certificate verify failed"):
        RunStore(url).perform(operations.peek("x"))

    async def ask() -> None:
        store = AsyncRunStore(url)
        try:
            await store.perform(operations.peek("x"))
        finally:
            await store.aclose()

    with pytest.raises(StoreUnavailable, match="certificate verify failed"):
        asyncio.run(ask())


def test_whom_to_trust_may_be_left_open(port: int) -> None:
    store = RunStore(f"rediss://127.0.0.1:{port}/0?ssl_cert_reqs=none&ssl_check_hostname=false")
    assert store.perform(operations.peek("x")) is None
    store.close()
