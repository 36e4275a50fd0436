"""The sync SDK clients of a worker that executes: one for each thread and credential, never one for each run.

A shared httpx client is CPU-bound in its connection pool under many threads, and a new one for each call pays for a TLS context
each time (CELERY.md, cost of waiting tasks); one per thread avoids both. They are made after the fork, on first use.
"""

from __future__ import annotations

import os
import threading

import noukai_sdk

from ..errors import InvalidRequest
from ..settings import Settings

_local = threading.local()


def check(settings: Settings) -> None:
    """Raise InvalidRequest if the SDK would refuse a key or the address of the service: at the start, not with the first run."""
    names = [*settings.credentials, *(["default"] if settings.api_key else [])]
    for name in names:
        try:
            noukai_sdk.Noukai(settings.key(name), env=settings.env, base_url=settings.base_url).close()
        except (ValueError, noukai_sdk.NoukaiError) as error:
            raise InvalidRequest(f"credential {name!r}, or NOUKAI_BASE_URL: {error}") from None


def client(settings: Settings, credential: str) -> noukai_sdk.Noukai:
    """This thread's client of a credential. Raises CredentialMissing. Retries are the run's, not the client's."""
    if getattr(_local, "pid", None) != os.getpid():
        _local.pid, _local.clients = os.getpid(), {}
    clients: dict[str, noukai_sdk.Noukai] = _local.clients
    found = clients.get(credential)
    if found is None:
        found = clients[credential] = noukai_sdk.Noukai(
            settings.key(credential),
            env=settings.env,
            base_url=settings.base_url,
            timeout=settings.request_timeout,
            max_retries=0,
        )
    return found
