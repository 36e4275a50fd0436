"""This room seals the pauses that a relay hands out, so that it knows them again without remembering any.

A paused run comes back from the caller with everything the service needs to go on: the run's id, the step, the outputs
of earlier steps, the conversation so far. All of it could be another's, or changed. So the relay signs it, and hides
the signature where every client returns it untouched: `pausedAtStep` goes out as "step.N.signature", N being the number of
`toolCallMessages` that are the service's. What comes back must be the same, with tool results appended.

The key is derived from the client's API key and the flow, so that all processes of an application share it. A new API key
ends what is paused under the old one. A seal says where a pause came from, not who may answer it: who knows a pause may.
"""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any


class Broken(Exception):
    """A resume that does not answer a pause of this relay."""


class Seal:
    """Signs pauses of one flow."""

    def __init__(self, api_key: str, upstream: str) -> None:
        self._key = hmac.digest(api_key.encode(), b"noukai relay pause\n" + upstream.encode(), "sha256")

    def closed(self, paused: dict[str, Any]) -> dict[str, Any]:
        """A paused result, with its signature in `pausedAtStep`."""
        messages = paused.get("toolCallMessages")
        step = paused.get("pausedAtStep")
        if not isinstance(step, str) or not isinstance(messages, list):
            return paused  # the caller's client will say what is wrong with it
        return {**paused, "pausedAtStep": f"{step}.{len(messages)}.{self._signature(paused, step, messages)}"}

    def opened(self, resume: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
        """A resume as the service expects it, and the tool results in it. Raises Broken."""
        messages = resume.get("toolCallMessages")
        step, count, signature = _split(resume.get("pausedAtStep"))
        if not isinstance(messages, list) or count > len(messages):
            raise Broken("a resume takes the toolCallMessages of its pause, and appends tool results")
        expected = self._signature(resume, step, messages[:count])
        if not hmac.compare_digest(signature.encode(), expected.encode()):
            raise Broken("this relay did not hand out this pause, or it was changed; return it as it came")
        return {**resume, "pausedAtStep": step}, messages[count:]

    def _signature(self, run: dict[str, Any], step: str, messages: list[Any]) -> str:
        signed = [
            run.get("executionId"),
            step,
            run.get("iterationsUsed") or 0,
            run.get("accumulatedOutputs") or {},
            messages,
        ]
        text = json.dumps(_canonical(signed), sort_keys=True, separators=(",", ":"))
        return base64.urlsafe_b64encode(hmac.digest(self._key, text.encode(), "sha256")).decode().rstrip("=")


def _split(step: object) -> tuple[str, int, str]:
    parts = step.rsplit(".", 2) if isinstance(step, str) else []
    if len(parts) != 3 or not (parts[1].isdecimal() and len(parts[1]) < 10):
        raise Broken("this relay resumes only runs that it paused itself; return pausedAtStep as it came")
    return parts[0], int(parts[1]), parts[2]


def _canonical(value: Any) -> Any:
    """The same for values that are the same to every JSON client: numbers are doubles, null is like missing."""
    if isinstance(value, dict):
        return {key: same for key, item in value.items() if (same := _canonical(item)) is not None}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value) + 0.0
        except OverflowError:
            return None  # as JavaScript writes it
    return value
