"""A real RabbitMQ node for the tests: on loopback, on ports of its own, with everything that it writes in one folder."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
from pathlib import Path

from amqp.exceptions import AMQPError, NotFound
from kombu import Connection

from tests.support.processes import Process, free_port, until

PROGRAMS = Path("/usr/lib/rabbitmq/bin")
"""Where the package keeps the programs themselves; those on PATH insist on their own user and folders."""


class RabbitServer(Process):
    """One node, with a port mapper (epmd), a cookie and a name of its own; what it keeps survives `stop` and `start`.

    `consumer_timeout` in seconds: how long a message may be unacknowledged before the broker closes its channel.
    """

    def __init__(self, folder: Path, *, consumer_timeout: float = 1800.0) -> None:
        assert (PROGRAMS / "rabbitmq-server").exists(), "no RabbitMQ here: apt-get install rabbitmq-server"
        folder.mkdir(parents=True, exist_ok=True)
        self.port, mapper_port = free_port(), free_port()
        cookie = folder / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(16))
        cookie.chmod(0o400)
        milliseconds = int(consumer_timeout * 1000)
        (folder / "rabbitmq.conf").write_text(f"consumer_timeout = {milliseconds}\ndisk_free_limit.absolute = 10MB\n")
        # How often the broker looks at its clock for that.
        tick = min(60_000, milliseconds // 3)
        (folder / "advanced.config").write_text(f"[{{rabbit, [{{channel_tick_interval, {tick}}}]}}].\n")
        (folder / "enabled_plugins").write_text("[].\n")
        env = {
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(mapper_port),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_NODENAME": f"noukai-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            # On loopback, and without spinning while there is nothing to do.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} "
            "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none",
            # The script becomes the node, so that its pid is the node's.
            "detached": "yes",
        }
        super().__init__([str(PROGRAMS / "rabbitmq-server")], folder / "node.log", env)
        mapper = shutil.which("epmd")
        assert mapper, "no epmd here: it comes with apt-get install rabbitmq-server"
        command = [mapper, "-address", "127.0.0.1", "-port", str(mapper_port)]
        self._mapper = Process(command, folder / "epmd.log")

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def start(self) -> None:
        if not self._mapper.alive:
            self._mapper.start()
        super().start()
        until(self.answers, "RabbitMQ answers")

    def answers(self) -> bool:
        assert self.alive, self.output()[-4000:]
        with contextlib.suppress(OSError, AMQPError), Connection(self.url, connect_timeout=2) as connection:
            connection.connect()
            return True
        return False

    def close(self) -> None:
        """Stop it for good."""
        try:
            self.stop()
        finally:
            self._mapper.kill()

    def ctl(self, *arguments: str) -> str:
        """What `rabbitmqctl` prints."""
        command = [str(PROGRAMS / "rabbitmqctl"), "--quiet", "-n", self.env["RABBITMQ_NODENAME"], *arguments]
        done = subprocess.run(
            command, env=os.environ | self.env, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def close_all_connections(self) -> None:
        """As an operator may, or a network that breaks."""
        self.ctl("close_all_connections", "a test")

    def ready(self, queue: str) -> int:
        """How many messages wait in it, not counting those that a worker holds; 0 if there is no such queue."""
        with Connection(self.url) as connection, contextlib.suppress(NotFound):
            return int(connection.default_channel.queue_declare(queue, passive=True).message_count)
        return 0

    def kinds(self) -> dict[str, str]:
        """The type of each queue."""
        rows = self.ctl("list_queues", "name", "type", "--no-table-headers").splitlines()
        return {name: kind for name, _, kind in (row.partition("\t") for row in rows)}

    def delete_queues(self, *names: str) -> None:
        with Connection(self.url) as connection:
            for name in names:
                connection.default_channel.queue_delete(name)
