"""The Lua scripts, the only writers of runs, as Redis takes them: prelude, transition table and script in one text."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from ..model import ENDS, FINDERS, TRANSITIONS


@dataclass(frozen=True, slots=True)
class Script:
    """A script and the SHA-1 by which Redis knows it."""

    name: str
    text: str
    sha: str


@cache
def load(name: str, *, mirrored: bool = False, then: str = "") -> Script:
    """The script in the file `<name>.lua`; those of a gate share `gate.lua`, too.

    `mirrored` is the form of a writing script for a cluster (`mirrored.lua`). `then` is another script that may follow in the same
    act (`chained.lua`).
    """
    if then:
        first, second = load(name).text, load(then).text
        text = _read("chained").replace("-- FIRST\n", first).replace("-- SECOND\n", second)
        return _script(f"{name}, {then}", text)
    body = _read(name)
    if mirrored:
        body = _read("mirrored").replace("-- SCRIPT\n", body)
    # A cluster carries a plain message to every node, a sharded one only to that of the run.
    publish = f"local PUBLISH = '{'SPUBLISH' if mirrored else 'PUBLISH'}'"
    shared = [_read("gate")] if name.startswith("gate_") else []
    text = "\n".join((_tables(), publish, _read("prelude"), *shared, body))
    return _script(name, text)


def _script(name: str, text: str) -> Script:
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def _read(name: str) -> str:
    return (files(__name__) / f"{name}.lua").read_text(encoding="utf-8")


@cache
def _tables() -> str:
    rows = (
        f"{state} = {{{', '.join(f'{to} = true' for to in sorted(targets))}}}" for state, targets in TRANSITIONS.items()
    )
    final = (f"{state} = true" for state in sorted(ENDS))
    return f"local TRANSITIONS = {{{', '.join(rows)}}}\nlocal FINAL = {{{', '.join(final)}}}\nlocal FINDERS = {FINDERS}"
