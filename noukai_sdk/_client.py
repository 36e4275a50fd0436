"""This room holds the two clients: how they are made, what they give, how they are closed.

A client is its settings only. What sends (and httpx, and pydantic) is imported with the first flow, and connects with the
first request, so that importing and constructing cost next to nothing (WIRE.md 8.11).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from noukai_sdk._config import DEFAULT_MAX_CONNECTIONS, Config, LogHandler
from noukai_sdk._protocol.paths import flow_name
from noukai_sdk._telemetry import spans

if TYPE_CHECKING:
    import httpx
    from opentelemetry.trace import Tracer

    from noukai_sdk._async_flow import AsyncFlow
    from noukai_sdk._drive.effects import AsyncConnection, SyncConnection
    from noukai_sdk._flow import Flow
    from noukai_sdk._sessions import AsyncSession, Session

NoukaiEnv = Literal["dev", "development", "production"]


class _Client:
    _config: Config

    @property
    def default_org(self) -> str | None:
        return self._config.org

    @property
    def default_project(self) -> str | None:
        return self._config.project

    @property
    def base_url(self) -> str:
        return self._config.base_url

    @property
    def _transport(self) -> Self:
        """What the published SDK documents for `replay_scope(transport=)` (WIRE.md 6.9): here, the client itself."""
        return self

    def _name(self, slug: str | None, org: str | None, project: str | None) -> tuple[str, ...]:
        return flow_name(slug, org, project, self._config.defaults)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self.base_url!r})"


class Noukai(_Client):
    """The sync client. Make one per process and key; it is safe to share between threads.

    `api_key` falls back to NOUKAI_API_KEY. The server is `base_url`, else `env` ("production" or "dev"), else
    NOUKAI_BASE_URL, else NOUKAI_ENV, else production. `timeout` (300 seconds) bounds silence, `max_retries` (1)
    counts repeats that cannot be paid twice; 0 means 0 for both. `log_handler` gets a dict per request and response
    (WIRE.md 6.7).
    At most `max_connections` are open at once (None: any number); who waits for one longer than `pool_timeout` (seconds,
    by default the `timeout`) gets a PoolTimeoutError. An `http_client` sends instead of our own transport, within its
    own limits, and is never closed. Raises AuthenticationError and ValueError.

    `otel=True`, or a `tracer`, makes an OpenTelemetry span of each call and stream, and sends its context on
    (WIRE.md 6.8). `otel_steps` asks for the trace of each finished run, one more request, and adds a span per step;
    `otel_step_payloads` puts what went in and came out on these, cut at 4,096 characters. Needs the extra "otel".
    """

    _opened: SyncConnection

    def __init__(
        self,
        api_key: str | None = None,
        *,
        env: NoukaiEnv | None = None,
        org: str | None = None,
        project: str | None = None,
        session_id: str | None = None,
        timeout: float | None = None,
        max_retries: int | None = None,
        log_handler: LogHandler | None = None,
        log_payloads: bool = False,
        otel: bool = False,
        tracer: Tracer | None = None,
        otel_steps: bool = False,
        otel_step_payloads: bool = False,
        base_url: str | None = None,
        max_connections: int | None = DEFAULT_MAX_CONNECTIONS,
        pool_timeout: float | None = None,
        http_client: httpx.Client | None = None,
    ) -> None:
        self._config = Config.of(
            api_key=api_key,
            env=env,
            base_url=base_url,
            org=org,
            project=project,
            session_id=session_id,
            timeout=timeout,
            max_retries=max_retries,
            log_handler=log_handler,
            log_payloads=log_payloads,
            max_connections=max_connections,
            pool_timeout=pool_timeout,
            telemetry=spans(otel=otel, tracer=tracer, steps=otel_steps, payloads=otel_step_payloads),
        )
        self._http_client = http_client
        if http_client is not None:
            _check(http_client, "Client", "Noukai")

    @property
    def _connection(self) -> SyncConnection:
        if "_opened" not in self.__dict__:
            from noukai_sdk._transport import sync_connection

            # One wins if two threads come at once; the other's is not connected to anything.
            self.__dict__.setdefault("_opened", sync_connection(self._config, self._http_client))
        return self._opened

    def flow(self, slug: str | None = None, *, org: str | None = None, project: str | None = None) -> Flow:
        """A flow: "slug" (with the client's org and project), "org/project/slug", or keywords. Raises ValueError."""
        from noukai_sdk._flow import Flow

        return Flow(self._connection, self._name(slug, org, project))

    def session(self, session_id: str) -> Session:
        """The session of this id, a UUID, to see what was run in it. Sends nothing. Raises ValueError."""
        from noukai_sdk._sessions import Session

        return Session(self._connection, session_id)

    def close(self) -> None:
        """Close the connections. Later calls raise ClientClosedError."""
        if (sender := self._connection.shut()) is not None:
            sender.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncNoukai(_Client):
    """The async client; arguments as for `Noukai`. Each event loop that uses it has connections of its own."""

    _opened: AsyncConnection

    def __init__(
        self,
        api_key: str | None = None,
        *,
        env: NoukaiEnv | None = None,
        org: str | None = None,
        project: str | None = None,
        session_id: str | None = None,
        timeout: float | None = None,
        max_retries: int | None = None,
        log_handler: LogHandler | None = None,
        log_payloads: bool = False,
        otel: bool = False,
        tracer: Tracer | None = None,
        otel_steps: bool = False,
        otel_step_payloads: bool = False,
        base_url: str | None = None,
        max_connections: int | None = DEFAULT_MAX_CONNECTIONS,
        pool_timeout: float | None = None,
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        self._config = Config.of(
            api_key=api_key,
            env=env,
            base_url=base_url,
            org=org,
            project=project,
            session_id=session_id,
            timeout=timeout,
            max_retries=max_retries,
            log_handler=log_handler,
            log_payloads=log_payloads,
            max_connections=max_connections,
            pool_timeout=pool_timeout,
            telemetry=spans(otel=otel, tracer=tracer, steps=otel_steps, payloads=otel_step_payloads),
        )
        self._http_client = http_client
        if http_client is not None:
            _check(http_client, "AsyncClient", "AsyncNoukai")

    @property
    def _connection(self) -> AsyncConnection:
        if "_opened" not in self.__dict__:
            from noukai_sdk._transport import async_connection

            # One wins if two threads come at once; the other's is not connected to anything.
            self.__dict__.setdefault("_opened", async_connection(self._config, self._http_client))
        return self._opened

    def flow(self, slug: str | None = None, *, org: str | None = None, project: str | None = None) -> AsyncFlow:
        """A flow: "slug" (with the client's org and project), "org/project/slug", or keywords. Raises ValueError."""
        from noukai_sdk._async_flow import AsyncFlow

        return AsyncFlow(self._connection, self._name(slug, org, project))

    def session(self, session_id: str) -> AsyncSession:
        """The session of this id, a UUID, to see what was run in it. Sends nothing. Raises ValueError."""
        from noukai_sdk._sessions import AsyncSession

        return AsyncSession(self._connection, session_id)

    async def aclose(self) -> None:
        """Close the connections. Later calls raise ClientClosedError."""
        if (sender := self._connection.shut()) is not None:
            await sender.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _check(http_client: Any, kind: str, client: str) -> None:
    import httpx

    if not isinstance(http_client, getattr(httpx, kind)):
        article = "an" if kind.startswith("A") else "a"
        raise TypeError(f"http_client of {client} must be {article} httpx.{kind}, not {type(http_client).__name__}")
