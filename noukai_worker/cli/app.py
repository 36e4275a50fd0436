"""The commands of `noukai-worker`. Each imports what it starts or shows with: a worker shows nothing, and starts by itself."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .. import __version__
from ..errors import InvalidRequest
from ..runs import State
from ..settings import current
from .dead import dead
from .lines import print_json
from .options import Json, RunId
from .resuming import resume
from .story import one_line

# Newer typers carry a click of their own: the class is found from what typer itself exports.
_USAGE_ERROR: type[Any] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

app = typer.Typer(
    name="noukai-worker",
    help="Run paid Noukai flows in the background on Celery, and watch them live.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

Concurrency = Annotated[int | None, typer.Option(min=1, help="Runs at once.", show_default="the settings'")]
LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR"],
    typer.Option("--loglevel", case_sensitive=False, help="Least severe level."),
]
NodeName = Annotated[str | None, typer.Option("--name", help="Celery's node name.", show_default="kind@host")]
Port = Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on.")]
Host = Annotated[str, typer.Option(help="Address to listen on.")]


def run(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command line; the exit code, 2 for one that makes no sense. Raises what the rooms raise."""
    command = typer.main.get_command(app)
    try:
        answer = command.main(
            None if arguments is None else [*arguments], prog_name="noukai-worker", standalone_mode=False
        )
    except typer.Abort:
        raise KeyboardInterrupt from None
    except _USAGE_ERROR as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "noukai-worker"
        message = " ".join(error.format_message().split())
        typer.echo(f"error: {message.rstrip('.')} (see {path} --help)", err=True)
        return 2
    return answer if isinstance(answer, int) else 0


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"noukai-worker {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> int:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        return 2
    return 0


@app.command()
def demo(*, as_json: Json = False) -> int:
    """Show everything at work: starts it all in a temporary folder, runs three flows, stops it all."""
    from . import local  # brings a whole stack

    return local.demo(as_json=as_json)


@app.command()
def dev(
    *,
    folder: Annotated[Path, typer.Option("--dir", help="Where Redis keeps its files.")] = Path(".noukai"),
    redis_port: Annotated[int, typer.Option(help="Port of Redis.")] = 6390,
    flow_port: Annotated[int, typer.Option(help="Port of the flow server.")] = 8080,
    web_port: Annotated[int, typer.Option(help="Port of the web application.")] = 8000,
    flows: Annotated[Path | None, typer.Option(help="TOML file of flows to offer beside the samples.")] = None,
) -> int:
    """Run everything on this machine: Redis, flow server, both workers and the web application, with one log."""
    from . import local  # brings a whole stack

    return local.develop(folder, redis_port=redis_port, flow_port=flow_port, web_port=web_port, flows=flows)


@app.command()
def flow_server(
    *,
    host: Host = "127.0.0.1",
    port: Port = 8080,
    api_key: Annotated[list[str] | None, typer.Option(metavar="KEY", help="Accept only this key (repeatable).")] = None,
    broke_api_key: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="402 for this key (repeatable).")
    ] = None,
    credit: Annotated[
        list[str] | None,
        typer.Option("--credits", metavar="KEY=USD", help="What this key's runs may use up (repeatable)."),
    ] = None,
    project: Annotated[
        list[str] | None, typer.Option(metavar="KEY=ORG/PROJECT", help="This key is good only there (repeatable).")
    ] = None,
    flows: Annotated[Path | None, typer.Option(help="TOML file of flows to offer beside the samples.")] = None,
    seed: Annotated[int | None, typer.Option(help="Makes failures by probability the same at every start.")] = None,
) -> int:
    """Run a local Noukai: sample flows, and your own."""
    from ..dev.flow_server import FlowServerError, load_flows, pairs, serve  # an extra

    try:
        serve(
            host,
            port,
            api_keys=api_key or (),
            broke_api_keys=broke_api_key or (),
            credits=pairs("--credits", credit or ()),
            projects=pairs("--project", project or ()),
            flows=load_flows(str(flows)) if flows else None,
            seed=seed,
        )
    except FlowServerError as error:
        raise InvalidRequest(str(error)) from None
    return 0


@app.command()
def worker(*, concurrency: Concurrency = None, loglevel: LogLevel = "INFO", name: NodeName = None) -> int:
    """Run a worker for execute runs (threads)."""
    from ..tasks.worker import execute_worker  # Celery takes its time

    _need_a_key()
    return execute_worker(concurrency=concurrency, loglevel=loglevel, name=name)


@app.command()
def stream(*, concurrency: Concurrency = None, loglevel: LogLevel = "INFO", name: NodeName = None) -> int:
    """Run a worker for streaming runs (one event loop)."""
    from ..tasks.worker import stream_worker  # Celery takes its time

    _need_a_key()
    return stream_worker(concurrency=concurrency, loglevel=loglevel, name=name)


@app.command()
def web(
    *,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    open_: Annotated[bool, typer.Option("--open", help="Reading needs no token; on loopback only.")] = False,
) -> int:
    """Run the web application: enqueue, watch and cancel over HTTP."""
    from ..web import serve  # an extra

    settings = current()
    serve(host, port, settings.model_copy(update={"web_open": True}) if open_ else settings)
    return 0


@app.command()
def enqueue(
    flow: Annotated[str, typer.Argument(metavar="FLOW", help="org/project/slug")],
    *,
    message: Annotated[str | None, typer.Option(help="The flow's input.")] = None,
    mode: Annotated[
        Literal["stream", "execute"], typer.Option(help="Relay every event, or one blocking call.")
    ] = "stream",
    param: Annotated[
        list[str] | None, typer.Option(metavar="K=V", help="A parameter; JSON or text (repeatable).")
    ] = None,
    idempotency_key: Annotated[str | None, typer.Option(metavar="KEY", help="One run for one key.")] = None,
    delay: Annotated[float | None, typer.Option(metavar="SECONDS", help="Run it that much later.")] = None,
    credential: Annotated[
        str, typer.Option(metavar="NAME", help="The name of an API key in the workers' settings.")
    ] = "default",
    tenant: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose run it is: the tenants of a credential take turns.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Watch it to its end.")] = False,
    as_json: Json = False,
) -> int:
    """Record a run and send it to the workers. Prints its id."""
    from .. import client  # Celery takes its time
    from . import watching  # and so does rich

    run = client.enqueue(
        flow,
        message=message,
        mode=mode,
        parameters=dict(map(_parameter, param)) if param else None,
        idempotency_key=idempotency_key,
        delay=delay,
        credential=credential,
        tenant=tenant,
    )
    if follow:
        return watching.follow(run.id, as_json=as_json)
    if as_json:
        print_json({"id": run.id, "position": run.position, "token": run.token, "new": run.new})
        return 0
    typer.echo(run.id)
    if sys.stderr.isatty():
        typer.echo(f"watch it: noukai-worker watch {run.id}", err=True)
    return 0


@app.command()
def watch(
    run_id: RunId,
    *,
    after: Annotated[int, typer.Option(min=0, metavar="N", help="Only entries after this number.")] = 0,
    as_json: Json = False,
) -> int:
    """Watch a run to its end: exit code 0 if it completed, 1 if it failed or was cancelled."""
    from . import watching  # rich takes its time

    return watching.follow(run_id, after=after, as_json=as_json)


@app.command()
def show(run_id: RunId, *, as_json: Json = False) -> int:
    """Show a run as it stands."""
    from .. import client  # Celery takes its time
    from . import watching  # and so does rich

    view = client.show(run_id)
    if as_json:
        print_json(view.public())
    else:
        watching.print_card(view)
        if remedy := watching.remedy(view):
            typer.echo(remedy)
    return 0


@app.command()
def runs(
    *,
    status: Annotated[State | None, typer.Option(help="Only runs in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    as_json: Json = False,
) -> int:
    """List the newest runs."""
    from .. import client  # Celery takes its time
    from . import watching  # and so does rich

    found = client.recent(limit=limit, state=status)
    if as_json:
        for view in found:
            print_json(view.public())
    else:
        watching.print_table(found)
    return 0


@app.command()
def cancel(run_id: RunId, *, as_json: Json = False) -> int:
    """End a run that has not ended."""
    from .. import client  # Celery takes its time

    before = client.cancel(run_id)
    if as_json:
        print_json({"id": run_id, "status": State.CANCELLED, "was": before})
    else:
        typer.echo(f"{one_line(run_id)} cancelled (it was {before})")
    return 0


@app.command()
def doctor(
    *,
    name: Annotated[
        str | None,
        typer.Option("--app", "-A", metavar="APP", help="An application's own Celery app, as for celery -A."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings are problems, too.")] = False,
    as_json: Json = False,
) -> int:
    """Look for what breaks a promise: settings, versions, Redis, broker, workers. Exit code 1 if there is a problem."""
    from . import examining  # Celery takes its time

    return examining.doctor(name, as_json=as_json, strict=strict)


@app.command()
def limits(
    credential: Annotated[
        list[str] | None, typer.Argument(metavar="[CREDENTIAL]…", help="Only these; otherwise all in the settings.")
    ] = None,
    *,
    lift: Annotated[bool, typer.Option("--lift", help="End the pause that the service asked for.")] = False,
    as_json: Json = False,
) -> int:
    """Show what runs, what waits and what is paused, for each credential."""
    from .. import client  # Celery takes its time
    from . import watching  # and so does rich

    if lift:
        if not credential:
            raise InvalidRequest("--lift: name the credential whose pause is to end")
        for name in credential:
            client.lift_pause(name)
    gates = client.limits(*(credential or ()))
    if as_json:
        for gate in gates:
            print_json(asdict(gate))
    else:
        watching.print_gates(gates)
    return 0


app.command()(resume)
app.add_typer(dead)


def _need_a_key() -> None:
    settings = current()
    if not settings.credentials:
        settings.key("default")


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise InvalidRequest(f"--param {text}: write it as name=value")
    try:
        return name, json.loads(value)
    except (ValueError, RecursionError):
        return name, value
