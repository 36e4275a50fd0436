"""The sync SDK clients of a worker that executes: one for each process and credential, never one for each run.

They are made after the fork, on first use. All threads of a process share one: that costs as little as one for each thread.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import noukai_sdk

from ..errors import CredentialMissing, InvalidRequest
from ..settings import Settings

_clients: dict[tuple[int, str], noukai_sdk.Noukai] = {}


def check(settings: Settings) -> None:
    """Raise InvalidRequest if the SDK would refuse a key or the address of the service: at the start, not with the first run."""
    for text in refusals(settings):
        raise InvalidRequest(text)


def refusals(settings: Settings) -> Iterator[str]:
    """What the SDK says against each key, or against the address of the service."""
    for name in [*settings.credentials, *(["default"] if settings.api_key else [])]:
        try:
            # A client that is not used is its settings only. Closing it would import all that sends, in each worker's start.
            noukai_sdk.Noukai(settings.key(name), env=settings.env, base_url=settings.base_url)
        except (ValueError, noukai_sdk.NoukaiError) as error:
            yield f"credential {name!r}, or NOUKAI_BASE_URL: {error}"
        except CredentialMissing:
            yield f"credential {name!r}: its key is empty"


def load() -> None:
    """Import what sends: for a process that forks, whose children would each do so with their first run."""
    from noukai_sdk import AsyncFlow, Flow, RecordedRun  # noqa: F401 - imported by need everywhere else


def client(settings: Settings, credential: str) -> noukai_sdk.Noukai:
    """This process' client of a credential. Raises CredentialMissing. Retries are the run's, not the client's."""
    place = (os.getpid(), credential)
    found = _clients.get(place)
    if found is None:
        made = noukai_sdk.Noukai(
            settings.key(credential),
            env=settings.env,
            base_url=settings.base_url,
            timeout=settings.request_timeout,
            max_retries=0,
            # Each execution holds one; how many there may be is the worker's concurrency.
            max_connections=None,
        )
        # Two threads may get here; what the slower one made has not connected.
        found = _clients.setdefault(place, made)
    return found
