"""Judges what is installed: versions that are known to break, and versions that nobody has tried."""

from __future__ import annotations

from collections.abc import Iterator

from ..facts import Facts
from ..finding import Finding, problem, warning

DIES = "5.7.0"
"""Celery's worker process ends when Redis goes away while it holds a message and has a free place (CELERY.md: 6 of 6)."""


def packages(facts: Facts) -> Iterator[Finding]:
    """Each package against the range that is tested."""
    for package in facts.packages:
        if package.name == "celery" and package.version == DIES:
            yield _dies(facts)
        elif not package.within:
            yield warning(
                "untested_version",
                "packages",
                f"{package.name} {package.version} is installed; {package.name}{package.tested} is what this was tested with",
                f'pip install "{package.name}{package.tested}"',
            )


def _dies(facts: Facts) -> Finding:
    if not facts.app.conf.get("worker_enable_remote_control", True):
        return warning(
            "celery_dies",
            "packages",
            f"celery {DIES} dies when Redis goes away; worker_enable_remote_control=False is all that keeps it from that",
            'pip install "celery>=5.6.3,<5.7"',
        )
    return problem(
        "celery_dies",
        "packages",
        f"celery {DIES}: a worker that holds a run and has a free place ends when Redis goes away for a moment",
        'pip install "celery>=5.6.3,<5.7"; until then worker_enable_remote_control=False',
    )
