"""Bytes sent to the service for a flow of n steps, beside the published SDK's stepping, which sends all outputs again.

Each step's output has 1,000 bytes. Ours asks once for all that remains: what it sends hardly knows how many steps there are.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from noukai_worker import enqueue
from tests.support.processes import Process, free_port, until

from .claims import Options, Row, in_turn
from .counting import Counter, counting
from .stage import KEY, PEERS, PORT, Stage, published, stage

STEPS = (5, 20, 80)


def measure(options: Options) -> list[Row]:
    python = published("redis>=6.4,<9")
    with stage() as it, counting(PORT, _upstream(it)) as counter:
        it.worker("stream")
        return [_row(options, python, counter, steps) for steps in STEPS]


def _row(options: Options, python: Path, counter: Counter, steps: int) -> Row:
    flow = f"acme/bytes/steps-{steps}"

    def ours() -> float:
        before = counter.sent
        run = enqueue(flow, message="x")
        run.result()
        return counter.sent - before

    def theirs() -> float:
        before = counter.sent
        subprocess.run([str(python), PEERS / "upstream_bytes.py", flow], check=True, timeout=120)
        return counter.sent - before

    goal = 1_000 + 100 * steps
    claim = f"bytes to the service, {steps} steps of 1 kB"
    return Row(
        claim, "bytes", in_turn(options, ours, theirs), goal, more_is_better=False, peer="published SDK", absolute=True
    )


def _upstream(it: Stage) -> int:
    port, file = free_port(), it.folder / "flows.toml"
    output = "y" * 1000
    step = '{{ id = "s{}", name = "S", output = "{}" }}'
    flows = [
        f'[[flow]]\npath = "acme/bytes/steps-{steps}"\nstep = [{", ".join(step.format(n, output) for n in range(steps))}]\n'
        for steps in STEPS
    ]
    file.write_text("\n".join(flows))
    command = [sys.executable, "-m", "noukai_worker", "flow-server", "--port", str(port), "--flows", str(file)]
    server = Process([*command, "--api-key", KEY], it.folder / "flow-server.log")
    it.start(server)
    until(lambda: str(port) in server.output() or not server.alive, "the flow server listens")
    if not server.alive:
        raise RuntimeError(server.output())
    return port
