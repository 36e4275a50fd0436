"""This room holds the two clients: how they are made, what they give, how they are closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Literal, Self

import httpx

from noukai_sdk._config import Config, LogHandler
from noukai_sdk._flow import AsyncFlow, Flow
from noukai_sdk._protocol.paths import flow_name
from noukai_sdk._telemetry import spans
from noukai_sdk._transport import LIMITS, Connection, HttpClient, tls_context

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

NoukaiEnv = Literal["dev", "development", "production"]


class _Client(Generic[HttpClient]):
    _connection: Connection[HttpClient]

    @property
    def default_org(self) -> str | None:
        return self._connection.config.org

    @property
    def default_project(self) -> str | None:
        return self._connection.config.project

    @property
    def base_url(self) -> str:
        return self._connection.config.base_url

    def _name(self, slug: str | None, org: str | None, project: str | None) -> tuple[str, ...]:
        return flow_name(slug, org, project, self._connection.config.defaults)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self.base_url!r})"


class Noukai(_Client[httpx.Client]):
    """The sync client. Make one per process and key; it is safe to share between threads.

    `api_key` falls back to NOUKAI_API_KEY. The server is `base_url`, else `env` ("production" or "dev"), else
    NOUKAI_BASE_URL, else NOUKAI_ENV, else production. `timeout` (seconds) bounds silence, `max_retries` counts repeats
    that cannot be paid twice; 0 means 0 for both. `log_handler` gets a dict per request and response (WIRE.md 6.7).
    An `http_client` is used as the transport and never closed. Raises AuthenticationError and ValueError.

    `otel=True`, or a `tracer`, makes an OpenTelemetry span of each call and stream, and sends its context on
    (WIRE.md 6.8). `otel_steps` asks for the trace of each finished run, one more request, and adds a span per step;
    `otel_step_payloads` puts what went in and came out on these, cut at 4,096 characters. Needs the extra "otel".
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        env: NoukaiEnv | None = None,
        org: str | None = None,
        project: str | None = None,
        session_id: str | None = None,
        timeout: float | None = 300.0,
        max_retries: int | None = 1,
        log_handler: LogHandler | None = None,
        log_payloads: bool = False,
        otel: bool = False,
        tracer: Tracer | None = None,
        otel_steps: bool = False,
        otel_step_payloads: bool = False,
        base_url: str | None = None,
        http_client: httpx.Client | None = None,
    ) -> None:
        config = Config.of(
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
            telemetry=spans(otel=otel, tracer=tracer, steps=otel_steps, payloads=otel_step_payloads),
        )
        if http_client is None:
            http = httpx.Client(verify=tls_context(), limits=LIMITS, trust_env=not config.is_local)
            self._connection = Connection(config, http, is_own=True)
        elif isinstance(http_client, httpx.Client):
            self._connection = Connection(config, http_client, is_own=False)
        else:
            raise TypeError(f"http_client of Noukai must be an httpx.Client, not {type(http_client).__name__}")

    def flow(self, slug: str | None = None, *, org: str | None = None, project: str | None = None) -> Flow:
        """A flow: "slug" (with the client's org and project), "org/project/slug", or keywords. Raises ValueError."""
        return Flow(self._connection, self._name(slug, org, project))

    def close(self) -> None:
        """Close the connections. Later calls raise ClientClosedError."""
        self._connection.closed = True
        if self._connection.is_own:
            self._connection.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncNoukai(_Client[httpx.AsyncClient]):
    """The async client; arguments as for `Noukai`. Use it in one event loop."""

    def __init__(
        self,
        api_key: str | None = None,
        *,
        env: NoukaiEnv | None = None,
        org: str | None = None,
        project: str | None = None,
        session_id: str | None = None,
        timeout: float | None = 300.0,
        max_retries: int | None = 1,
        log_handler: LogHandler | None = None,
        log_payloads: bool = False,
        otel: bool = False,
        tracer: Tracer | None = None,
        otel_steps: bool = False,
        otel_step_payloads: bool = False,
        base_url: str | None = None,
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        config = Config.of(
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
            telemetry=spans(otel=otel, tracer=tracer, steps=otel_steps, payloads=otel_step_payloads),
        )
        if http_client is None:
            http = httpx.AsyncClient(verify=tls_context(), limits=LIMITS, trust_env=not config.is_local)
            self._connection = Connection(config, http, is_own=True)
        elif isinstance(http_client, httpx.AsyncClient):
            self._connection = Connection(config, http_client, is_own=False)
        else:
            raise TypeError(
                f"http_client of AsyncNoukai must be an httpx.AsyncClient, not {type(http_client).__name__}"
            )

    def flow(self, slug: str | None = None, *, org: str | None = None, project: str | None = None) -> AsyncFlow:
        """A flow: "slug" (with the client's org and project), "org/project/slug", or keywords. Raises ValueError."""
        return AsyncFlow(self._connection, self._name(slug, org, project))

    async def aclose(self) -> None:
        """Close the connections. Later calls raise ClientClosedError."""
        self._connection.closed = True
        if self._connection.is_own:
            await self._connection.http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
