"""The main job: a run is enqueued, worked on and watched, under one id, by real processes."""

from __future__ import annotations

import json
import sys
import threading

import pytest
from celery.result import AsyncResult

from noukai_worker import enqueue, execute_flow, stream_flow
from noukai_worker.errors import IdempotencyConflict, RunFailed
from noukai_worker.runs import State, keys
from noukai_worker.tasks import app as apps
from tests.integration.conftest import House
from tests.support.cluster import client_of
from tests.support.processes import Process, running, until

pytestmark = pytest.mark.integration


def test_a_streaming_run_has_one_id_and_one_whole_log(house: House) -> None:
    house.worker("stream")
    run = enqueue("acme/spelling/grade-3", message="Hello", metadata={"user": 7})
    (view,) = house.wait(run.id)
    assert (view.state, view.attempt, view.step_index, view.step_count) == (State.COMPLETED, 1, 2, 2)
    types = house.types(run.id)
    assert types[:4] == ["run.queued", "run.started", "run_started", "step_started"]
    assert types[-2:] == ["flow_completed", "run.completed"]
    assert types.count("step_completed") == 2
    assert [entry.data["stepIndex"] for entry in house.log(run.id) if entry.type == "step_completed"] == [0, 1]
    assert AsyncResult(run.id, app=apps.current()).get(timeout=10) == view.result
    assert run.result() == view.result


def test_an_execute_run_has_the_same_log_and_result(house: House) -> None:
    house.worker("execute")
    run = enqueue("acme/process/default", message="Hello", mode="execute")
    (view,) = house.wait(run.id)
    assert house.types(run.id) == ["run.queued", "run.started", "run.completed"]
    assert view.result is not None
    assert AsyncResult(run.id, app=apps.current()).get(timeout=10) == view.result


def test_celerys_own_words(house: House) -> None:
    house.worker("execute")
    house.worker("stream")
    executed = execute_flow.delay("acme/spelling/grade-3", message="Hello")
    streamed = stream_flow.apply_async(("acme/spelling/grade-3",), {"message": "Hello"}, countdown=0.5)
    by_name = apps.current().send_task("noukai.stream", ("acme/spelling/grade-3", "Hello"), queue="noukai.stream")
    assert executed.get(timeout=30) == streamed.get(timeout=30) == by_name.get(timeout=30)
    for result in (executed, streamed, by_name):
        assert house.types(result.id)[-1] == "run.completed"


def test_the_stand_alone_app_in_celerys_own_worker(house: House) -> None:
    command = [sys.executable, "-m", "celery", "-A", "noukai_worker", "worker", "-c", "2", "-n", "own@%h"]
    worker = Process(command, house.folder / "celery.log", house.env)
    with running(worker):
        runs = [enqueue("acme/spelling/grade-3", message="Hello", mode=mode) for mode in ("stream", "execute")]
        assert {view.state for view in house.wait(*(run.id for run in runs))} == {State.COMPLETED}


def test_links_and_groups_go_with_a_run(house: House) -> None:
    from celery import group

    house.worker("execute")
    job = group(execute_flow.si("acme/demo/hello-world", message=str(n)) for n in range(3))
    results = job.apply_async()
    assert len(results.get(timeout=30)) == 3
    chained = (
        execute_flow.si("acme/demo/hello-world", message="1") | execute_flow.si("acme/demo/hello-world", message="2")
    ).apply_async()
    assert "2" in str(chained.get(timeout=30))


def test_a_bare_subscriber_sees_each_entry_once_in_order(house: House) -> None:
    house.worker("stream")
    heard: list[bytes] = []
    with (
        client_of(house.settings.redis_url) as client,
        client.pubsub(ignore_subscribe_messages=True) as channel,
    ):
        run = enqueue("acme/spelling/grade-3", message="Hello", delay=0.5)
        channel.subscribe(keys.channel(run.id))

        def listen() -> None:
            for message in channel.listen():
                heard.append(message["data"])
                if json.loads(message["data"])["type"] == "run.completed":
                    return

        ear = threading.Thread(target=listen, daemon=True)
        ear.start()
        house.wait(run.id)
        ear.join(10)
    assert heard == [entry.raw for entry in house.log(run.id)[1:]]


def test_one_key_is_one_run_and_another_request_is_refused(house: House) -> None:
    house.worker("stream")
    first = enqueue("acme/demo/two-step", message="once", idempotency_key="k")
    second = enqueue("acme/demo/two-step", message="once", idempotency_key="k")
    assert (second.id, second.token, second.new) == (first.id, first.token, False)
    with pytest.raises(IdempotencyConflict):
        enqueue("acme/demo/two-step", message="twice", idempotency_key="k")
    house.wait(first.id)
    third = enqueue("acme/demo/two-step", message="once", idempotency_key="k")
    assert (third.id, third.new) == (first.id, False)
    assert house.types(first.id).count("run.started") == 1


def test_a_delayed_run_waits_without_a_message(house: House) -> None:
    house.worker("stream")
    run = enqueue("acme/demo/hello-world", message="later", delay=1.5)
    (view,) = house.wait(run.id)
    assert view.updated_at - view.created_at >= 1.5


def test_a_hopeless_run_fails_in_celery_too(house: House) -> None:
    house.worker("stream")
    run = enqueue("acme/demo/nowhere", message="x")
    with pytest.raises(RunFailed, match="FLOW_NOT_FOUND"):
        AsyncResult(run.id, app=apps.current()).get(timeout=30)
    with pytest.raises(RunFailed, match="FLOW_NOT_FOUND"):
        run.result()


def test_no_key_is_a_failure_that_names_the_remedy(house: House) -> None:
    house.worker("stream", NOUKAI_API_KEY="")
    run = enqueue("acme/demo/hello-world", message="x")
    (view,) = house.wait(run.id)
    assert view.failure
    assert view.failure.code == "credential_missing"
    assert "NOUKAI_API_KEY" in view.failure.message


@pytest.mark.parametrize("mode", ["stream", "execute"])
def test_a_running_run_can_be_cancelled(house: House, mode: str) -> None:
    house.worker(mode)
    run = enqueue("acme/demo/slow-essay", message="x", mode=mode)  # type: ignore[arg-type]
    until(lambda: house.view(run.id).state is State.RUNNING, "the run is claimed")
    assert run.cancel(reason="enough") is State.RUNNING
    assert house.types(run.id)[-1] == "run.cancelled"
    assert AsyncResult(run.id, app=apps.current()).state == "REVOKED"
    assert run.cancel() is State.CANCELLED


def test_celery_is_told_of_a_stream_what_it_is_told_of_a_call(house: House) -> None:
    """A stream's result is written with the run's other writes, a call's by Celery itself."""
    house.worker("execute")
    house.worker("stream")
    told = []
    for task in (execute_flow, stream_flow):
        result = task.delay("acme/spelling/grade-3", message="Hello")
        result.get(timeout=30)
        told.append(result.backend.get_task_meta(result.id))
        lifetime = result.backend.client.ttl(result.backend.get_key_for_task(result.id))
        assert 0 < lifetime <= result.backend.expires
    execute, stream = told
    assert set(stream) == set(execute)
    own = {"task_id", "date_done", "name", "worker", "queue"}
    assert {name: value for name, value in stream.items() if name not in own} == {
        name: value for name, value in execute.items() if name not in own
    }
    assert (stream["name"], stream["queue"]) == ("noukai.stream", "noukai.stream")


@pytest.mark.parametrize("ignored", [True, False])
def test_a_result_is_told_unless_nobody_wants_it(house: House, ignored: bool) -> None:
    house.worker("stream")
    result = stream_flow.apply_async(("acme/spelling/grade-3",), {"message": "x"}, ignore_result=ignored)
    house.wait(result.id)
    app = apps.current()
    if not ignored:
        assert result.get(timeout=10)
    assert bool(app.backend.client.exists(app.backend.get_key_for_task(result.id))) is not ignored
