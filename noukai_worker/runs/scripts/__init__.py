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
def load(name: str) -> Script:
    """The script in the file `<name>.lua`; those of a gate share `gate.lua`, too."""
    folder = files(__name__)
    names = ("prelude", "gate", name) if name.startswith("gate_") else ("prelude", name)
    text = "\n".join((_tables(), *((folder / f"{part}.lua").read_text(encoding="utf-8") for part in names)))
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


@cache
def _tables() -> str:
    rows = (
        f"{state} = {{{', '.join(f'{to} = true' for to in sorted(targets))}}}" for state, targets in TRANSITIONS.items()
    )
    final = (f"{state} = true" for state in sorted(ENDS))
    return f"local TRANSITIONS = {{{', '.join(rows)}}}\nlocal FINAL = {{{', '.join(final)}}}\nlocal FINDERS = {FINDERS}"
