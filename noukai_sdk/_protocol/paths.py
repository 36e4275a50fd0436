"""This room builds request paths, so that no name can leave its own segment (WIRE.md 2, 8.13; RFC 3986 section 3.3)."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import quote, urlencode

Version = str | int
Attempt = int | Literal["latest", "all"]

_NAME = re.compile(r"[A-Za-z0-9._~-]+")


def name(value: object, what: str) -> str:
    """An org, project or flow name. Raises ValueError for what cannot be one."""
    if not isinstance(value, str) or not _NAME.fullmatch(value) or value in {".", ".."}:
        raise ValueError(f"{what} {value!r} is not valid; use letters, digits and hyphens, as the console shows it")
    return value


def segment(value: object, what: str) -> str:
    """An id as one quoted path segment. Raises ValueError if it is empty or a dot segment."""
    if not isinstance(value, str) or value in {"", ".", ".."}:
        raise ValueError(f"{what} {value!r} is not valid")
    return quote(value, safe="")


def flow_name(
    slug: str | None, org: str | None, project: str | None, defaults: tuple[str, str] | None
) -> tuple[str, ...]:
    """(org, project, slug) from any of the forms of `flow()` (WIRE.md 6.2). Raises ValueError naming the remedy."""
    if slug is not None and not isinstance(slug, str):
        raise ValueError(f'flow() takes "slug" or "org/project/slug", not {type(slug).__name__}')
    if slug is not None and "/" in slug:
        if org is not None or project is not None:
            raise ValueError('pass either "org/project/slug" or org=, project= and slug, not a mixture')
        parts: tuple[str | None, ...] = tuple(slug.split("/"))
        if len(parts) != 3 or not all(parts):
            raise ValueError(f'flow {slug!r} is not of the form "org/project/slug"')
    elif org is not None or project is not None:
        parts = (org, project, slug)
        if not all(parts):
            raise ValueError("Kwargs form requires all of org=, project= and slug")
    elif not slug:
        raise ValueError('flow() needs a flow: "slug", "org/project/slug", or org=, project= and slug')
    elif defaults is None:
        raise ValueError(
            f'flow({slug!r}) needs a client constructed with org and project; or write "org/project/{slug}"'
        )
    else:
        parts = (*defaults, slug)
    return tuple(name(part, what) for part, what in zip(parts, ("org", "project", "slug"), strict=True))


def flow_path(base: tuple[str, ...], version: Version, call: str) -> str:
    """`/seq/{org}/{project}/{slug}[/vN]/{call}`. Raises ValueError for an unknown version."""
    return "/".join(["/seq", *base, *_version_segment(version), call])


def step_path(base: tuple[str, ...], version: Version) -> str:
    """The path of the step stream, which drafts do not have."""
    path = flow_path(base, version, "step")
    if version in {"draft", 0}:
        raise ValueError("step-through on draft is not possible; publish the flow, or use execute(version='draft')")
    return path


def job_path(base: tuple[str, ...], execution_id: str) -> str:
    """The path of a job, which has no version."""
    return "/".join(["/seq", *base, "jobs", segment(execution_id, "execution_id")])


def run_path(base: tuple[str, ...], execution_id: str) -> str:
    """What the paths of a run's traces begin with; there is no version."""
    return "/".join(["/seq", *base, "runs", segment(execution_id, "execution_id")])


def step_trace_path(run: str, step_id: str, attempt: Attempt, loop_index: int | None) -> str:
    """The path and query of the traces of one step of the run at `run`."""
    query = {} if attempt == "latest" else {"attempt": attempt}
    if loop_index is not None:
        query["loop_index"] = loop_index
    path = f"{run}/steps/{segment(step_id, 'step_id')}/trace"
    return f"{path}?{urlencode(query)}" if query else path


def _version_segment(version: Version) -> list[str]:
    if version == "production":
        return []
    if version == "draft":
        return ["v0"]
    if isinstance(version, int) and not isinstance(version, bool) and version >= 0:
        return [f"v{version}"]
    raise ValueError(f"Invalid version {version!r}; use 'production', 'draft', or a number from 0 (the draft) on")
