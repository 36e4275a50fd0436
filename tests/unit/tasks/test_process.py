"""A worker's process gets the open files that its runs need, as far as it may have them."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from noukai_worker.tasks.process import allow_files


@pytest.fixture
def hard() -> Iterator[int]:
    """The hard limit; the soft one is 100 below 1,024, and what it was afterwards."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (924, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(("wanted", "given"), [(2_000, 2_000), (500, 924)])
@pytest.mark.usefixtures("hard")
def test_the_soft_limit_is_raised_and_never_lowered(wanted: int, given: int) -> None:
    allow_files(wanted)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == given


def test_the_hard_limit_is_the_end_of_it(hard: int) -> None:
    if hard == resource.RLIM_INFINITY:
        pytest.skip("there is none here")
    allow_files(hard + 1)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
