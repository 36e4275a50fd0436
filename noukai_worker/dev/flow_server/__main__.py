"""``python -m noukai_worker.dev.flow_server``: the flow server as a process of its own."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from .errors import FlowServerError
from .flow_file import load_flows
from .options import pairs
from .server import DEFAULT_HOST, DEFAULT_PORT, RunningServer, serve


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to stop; return the exit status: 0, or 1 after one line on standard error."""
    options = _parser().parse_args(arguments)

    if options.until_input_ends:
        threading.Thread(target=_end_with_input, name="lifeline", daemon=True).start()

    def ready(server: RunningServer) -> None:
        if options.port_file is not None:
            _write_port(options.port_file, server.port)
        sys.stdout.write(server.base_url + "\n")
        sys.stdout.flush()

    try:
        serve(
            options.host,
            options.port,
            ready=ready,
            api_keys=options.api_key,
            broke_api_keys=options.broke_api_key,
            credits=pairs("--credits", options.credits),
            projects=pairs("--project", options.project),
            flows=load_flows(options.flows) if options.flows else None,
            seed=options.seed,
        )
    except FlowServerError as exc:
        sys.stderr.write(f"flow server: {exc}\n")
        return 1
    except KeyboardInterrupt:
        # uvicorn repeats the signal once it has stopped.
        return 0
    return 0


def _write_port(file: Path, port: int) -> None:
    # Renamed into place: whoever sees the file sees all of it.
    partial = file.with_name(file.name + ".part")
    try:
        partial.write_text(f"{port}\n", encoding="ascii")
        os.replace(partial, file)  # noqa: PTH105 - the atomic one by contract
    except OSError as exc:
        raise FlowServerError(f"cannot write {file} ({exc.strerror}); check the path given as --port-file") from exc


def _end_with_input() -> None:
    # Whoever started us holds the other end, and lets go of it even when killed.
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="flow_server", description="A local Noukai: runs sample flows, and your own.")
    parser.add_argument("--host", default=DEFAULT_HOST, help="address to listen on (default %(default)s, and ::1)")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 takes a free one (default %(default)s)")
    parser.add_argument("--port-file", type=Path, metavar="FILE", help="write the port here once requests are accepted")
    parser.add_argument("--until-input-ends", action="store_true", help="stop when standard input is closed")
    parser.add_argument(
        "--api-key", action="append", default=[], metavar="KEY", help="accept only this key (repeatable)"
    )
    parser.add_argument(
        "--broke-api-key", action="append", default=[], metavar="KEY", help="402 for this key (repeatable)"
    )
    parser.add_argument(
        "--credits", action="append", default=[], metavar="KEY=USD", help="what this key's runs may use up (repeatable)"
    )
    parser.add_argument(
        "--project",
        action="append",
        default=[],
        metavar="KEY=ORG/PROJECT",
        help="this key is good only there (repeatable)",
    )
    parser.add_argument("--flows", metavar="FILE", help="TOML file of flows to offer beside the samples")
    parser.add_argument("--seed", type=int, help="makes failures by probability the same at every start")
    return parser


if __name__ == "__main__":
    sys.exit(main())
