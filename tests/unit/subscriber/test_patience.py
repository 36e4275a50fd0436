from __future__ import annotations

import pytest

from noukai_worker.errors import StoreUnavailable
from noukai_worker.subscriber.patience import Patience

ERROR = StoreUnavailable("redis://x", "gone")


def test_pauses_double_up_to_two_seconds_and_begin_again_after_success() -> None:
    patience = Patience(1_000.0, lambda: 0.0)
    bounds = [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    for longest in bounds:
        assert longest / 2 <= patience.failed(ERROR) <= longest
    patience.succeeded()
    assert patience.failed(ERROR) <= 0.1


def test_it_ends_when_the_limit_has_passed_since_the_first_failure_in_a_row() -> None:
    now = 0.0
    patience = Patience(10.0, lambda: now)
    patience.failed(ERROR)
    now = 9.9
    patience.failed(ERROR)
    patience.succeeded()
    now = 15.0
    patience.failed(ERROR)
    now = 25.0
    with pytest.raises(StoreUnavailable, match="gone"):
        patience.failed(ERROR)


def test_only_the_first_failure_in_a_row_is_worth_a_log_line() -> None:
    patience = Patience(1_000.0, lambda: 0.0)
    seen = []
    for outcome in "FFFSFF":
        if outcome == "F":
            patience.failed(ERROR)
            seen.append(patience.first)
        else:
            patience.succeeded()
    assert seen == [True, False, False, True, False]
