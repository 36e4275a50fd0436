from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noukai_worker.dev.guard import end, orphans


def test_what_has_ended_is_no_orphan_and_later_waves_come_first() -> None:
    assert orphans(["+10 0\n", "+20 1\n", "+21 1\n", "-20 1\n", "+22 1\n"]) == [{21, 22}, {10}]
    assert orphans(["+10 0\n", "-10 0\n"]) == []


@given(st.lists(st.integers(100, 99_999), min_size=1, max_size=5, unique=True), st.data())
def test_a_torn_line_names_nobody(pids: list[int], data: st.DataObject) -> None:
    text = "".join(f"+{pid} 0\n" for pid in pids)
    torn = text[: data.draw(st.integers(0, len(text)))]
    assert set().union(*orphans(torn.splitlines(keepends=True))) <= set(pids)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_who_does_not_hear_is_killed(signum: signal.Signals) -> None:
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN);" if signum is signal.SIGKILL else ""
    code = f"import signal, sys, time; {ignore} print('up', flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"up\n"
        end({process.pid}, grace=0.3 if ignore else 0)
        assert process.wait(10) == -signum
        with pytest.raises(ProcessLookupError):
            os.kill(process.pid, 0)
