"""Lets a process hold as many sockets as the machine allows it; what it starts inherits that."""

from __future__ import annotations

import resource


def allow_many_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
