"""The only place that reads the environment: every setting, with its default, unit and meaning."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from .errors import CredentialMissing, InvalidRequest
from .redis_url import Kind, RedisUrl

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


UNPREFIXED = ("redis_url", "broker_url", "result_backend", "api_key", "env", "base_url")
"""Settings whose variables begin with NOUKAI_, not NOUKAI_WORKER_."""


class Limit(BaseModel):
    """What may be done with one credential at a time, by all workers together; None for as much as the workers can."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    concurrency: int | None = Field(None, ge=1)
    """Runs at once."""
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Runs that begin in a second."""


UNLIMITED = Limit()


def _named(name: str) -> AliasChoices:
    return AliasChoices(name.removeprefix("NOUKAI_").lower(), name)


def _redis_url(url: str) -> str:
    RedisUrl.parse(url)
    return url


def _celery_url(url: str | None) -> str | None:
    # Whatever else Celery knows (amqp, sqs …) is Celery's to judge.
    if url and url.startswith(("redis", "unix")) and RedisUrl.parse(url).kind is Kind.CLUSTER:
        raise InvalidRequest(
            "Celery cannot work on a Redis Cluster: name a plain Redis, Sentinels or (a broker) RabbitMQ"
        )
    return url


RedisAddress = Annotated[str, AfterValidator(_redis_url)]
CeleryAddress = Annotated[str | None, AfterValidator(_celery_url)]


class Settings(BaseSettings):
    """What a process of this project may be told. Durations are in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(
        env_prefix="NOUKAI_WORKER_", frozen=True, extra="forbid", populate_by_name=True, hide_input_in_errors=True
    )

    redis_url: RedisAddress = Field("redis://127.0.0.1:6379/0", repr=False, validation_alias=_named("NOUKAI_REDIS_URL"))
    """Where runs live: a Redis or Valkey server, Sentinels or a cluster (redis_url.py)."""
    broker_url: CeleryAddress = Field(None, repr=False, validation_alias=_named("NOUKAI_BROKER_URL"))
    """Celery's broker; that of `redis_url` unless given, or unless that is a cluster."""
    result_backend: CeleryAddress = Field(None, repr=False, validation_alias=_named("NOUKAI_RESULT_BACKEND"))
    """Where Celery keeps results; that of `redis_url`, or the broker if that is a cluster. Runs do not depend on it."""
    api_key: SecretStr | None = Field(None, validation_alias=_named("NOUKAI_API_KEY"))
    """The key of the credential named `default`. Workers need it, enqueuers and readers do not."""
    env: Literal["dev", "development", "production"] | None = Field(None, validation_alias=_named("NOUKAI_ENV"))
    """Which Noukai service: `production` (the default) or `dev`."""
    base_url: str | None = Field(None, validation_alias=_named("NOUKAI_BASE_URL"))
    """The address of the service, if neither of these."""

    credentials: dict[str, SecretStr] = {}
    """Further API keys by name, as a JSON object."""
    limits: dict[str, Limit] = {}
    """Limits by the name of the credential, as a JSON object. Workers need them, enqueuers do not."""
    retention: Seconds = 86_400.0
    """How long a run and its log are kept after its last change."""
    failed_retention: Seconds = 604_800.0
    """How long a failed run is kept: it can be looked at and redriven until then."""
    lease: Seconds = 10.0
    """How long a worker may be silent before its run is given to another one."""
    pickup: Seconds = 10.0
    """How long a message may lie unclaimed before it is sent again; doubles with each sending."""
    sweep_interval: Seconds = 1.0
    """How often each worker looks for overdue runs."""
    max_attempts: int = Field(8, ge=1)
    """Attempts a run may use; attempts given back by a draining worker do not count."""
    max_age: Seconds = 21_600.0
    """How long after it was due a run may go on being attempted."""
    pause_limit: Seconds = 86_400.0
    """How long a paused run waits for its tool results."""
    tool_rounds: int = Field(10, ge=1)
    """How often one attempt may answer a flow's tool calls."""
    tool_timeout: Seconds = 60.0
    """How long the functions that answer one round of tool calls may take."""
    include: Annotated[tuple[str, ...], NoDecode] = ()
    """Modules that a worker imports at its start, for the tools that they register; separated by commas."""
    backoff_base: Seconds = 1.0
    """The first pause before a retry; doubles with each attempt, jittered."""
    backoff_max: Seconds = 120.0
    """The longest pause before a retry, unless the service asks for more."""
    request_timeout: Seconds = 300.0
    """How long the service may be silent during a call."""
    drain_grace: Seconds = 5.0
    """How long a stopping worker may take to give its runs back."""
    execute_grace: float = Field(30.0, ge=0, allow_inf_nan=False)
    """How long a stopping worker waits for its execute runs before it gives them back, too."""
    log_max_entries: int = Field(100_000, ge=100)
    """Entries kept of one run's log; older ones are trimmed, and readers are told."""
    max_input_bytes: int = Field(1_000_000, ge=1_000)
    """The largest input of a run, as JSON."""
    execute_concurrency: int = Field(32, ge=1)
    """Execute runs at once in one worker (threads)."""
    stream_concurrency: int = Field(1_000, ge=1)
    """Streaming runs at once in one worker (one event loop)."""
    task_events: bool = False
    """Celery's task events from the start, for monitors that do not ask for them. Flower does."""
    reader_buffer: int = Field(1_000, ge=1)
    """Entries held for a slow reader before it has to read from the log."""
    web_open: bool = False
    """Reading needs no token. For development: refused unless the web process listens on loopback."""
    operator_token: Annotated[SecretStr, Field(min_length=16)] | None = None
    """What operators send to list and redrive failed runs over HTTP; without it the web process has no such routes."""

    @field_validator("operator_token", mode="before")
    @classmethod
    def _unset(cls, value: object) -> object:
        return value or None  # what an unset variable looks like in a compose file

    @field_validator("include", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value

    @property
    def answer_within(self) -> float:
        """How long a worker waits for Redis' answer: one half-open connection must not cost it all its leases."""
        return min(10.0, self.lease / 4)

    @property
    def broker(self) -> str:
        """The broker's URL. Raises InvalidRequest if runs live on a cluster and no broker is named."""
        if self.broker_url:
            return self.broker_url
        if RedisUrl.parse(self.redis_url).kind is Kind.CLUSTER:
            raise InvalidRequest(
                "NOUKAI_BROKER_URL: Celery cannot work on a Redis Cluster; name a plain Redis or RabbitMQ"
            )
        return self.redis_url

    @property
    def results(self) -> str | None:
        """The URL of Celery's result backend; None if there is no server that could be one."""
        if self.result_backend:
            return self.result_backend
        places = (url for url in (self.redis_url, self.broker_url) if url and url.startswith(("redis", "unix")))
        return next((url for url in places if RedisUrl.parse(url).kind is not Kind.CLUSTER), None)

    def key(self, credential: str) -> str:
        """The API key of a credential. Raises CredentialMissing."""
        secret = self.credentials.get(credential)
        if secret is None and credential == "default":
            secret = self.api_key
        if secret is None or not secret.get_secret_value():
            raise CredentialMissing(credential)
        return secret.get_secret_value()


_REMEDIES = {
    "credentials": 'write a JSON object of names and keys, {"name": "nk_..."}',
    "limits": 'write a JSON object of names and limits, {"default": {"concurrency": 10, "rate": 5}}',
    "operator_token": "use 16 characters or more, at random",
}


@cache
def from_environment() -> Settings:
    """The settings of this process, read from its environment once. Raises InvalidRequest naming the variable."""
    try:
        return Settings()
    except SettingsError as error:
        name = "limits" if '"limits"' in str(error) else "credentials"
        raise InvalidRequest(f"NOUKAI_WORKER_{name.upper()}: {_REMEDIES[name]}") from None
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else "settings"
        plain = field in UNPREFIXED
        name = f"NOUKAI_{field.upper()}" if plain else f"NOUKAI_WORKER_{field.upper()}"
        remedy = _REMEDIES.get(field, first["msg"].removeprefix("Value error, "))
        raise InvalidRequest(f"{name}: {remedy}") from None


_adopted: list[Settings] = []


def adopt(settings: Settings | None) -> None:
    """Use these settings in this process instead of the environment's; None goes back to the environment."""
    _adopted[:] = [settings] if settings else []


def current() -> Settings:
    """The settings of this process. Raises InvalidRequest if the environment holds nonsense."""
    return _adopted[0] if _adopted else from_environment()
