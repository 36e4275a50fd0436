"""Names of flows, and paths that cannot be left."""

from __future__ import annotations

from typing import Any

import pytest

from noukai_sdk import Noukai
from noukai_sdk._protocol.paths import flow_path, segment, step_path


@pytest.fixture
def client() -> Noukai:
    return Noukai("nk_x")


def test_forms_of_flow() -> None:
    with Noukai("nk_x", org="o", project="p") as client:
        for flow in (client.flow("s"), client.flow("o/p/s"), client.flow("s", org="o", project="p")):
            assert (flow.org, flow.project, flow.slug) == ("o", "p", "s")
        assert (client.default_org, client.default_project) == ("o", "p")
        assert client.flow(slug="s", org="x", project="y").org == "x"


@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        ((), {}, "needs a flow"),
        (("",), {}, "needs a flow"),
        (("s",), {}, "constructed with org and project"),
        (("a/b",), {}, "org/project/slug"),
        (("a//b",), {}, "org/project/slug"),
        (("a/b/c/d",), {}, "org/project/slug"),
        (("a/b/c",), {"org": "a", "project": "b"}, "either"),
        (("s",), {"org": "a"}, "Kwargs form requires"),
        ((), {"org": "a", "project": "b"}, "Kwargs form requires"),
        (({"org": "a"},), {}, "takes"),
        (("a/b/..",), {}, "not valid"),
        (("a/b/c?x=1",), {}, "not valid"),
        (("a/b/c#",), {}, "not valid"),
        (("a/b/c d",), {}, "not valid"),
        (("a/b/c%2f",), {}, "not valid"),
        (("a/b/c\n",), {}, "not valid"),
        ((), {"org": "a", "project": "b", "slug": "../x"}, "either"),
        ((), {"org": "../a", "project": "b", "slug": "x"}, "not valid"),
    ],
)
def test_names_that_are_refused(client: Noukai, args: Any, kwargs: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        client.flow(*args, **kwargs)


@pytest.mark.parametrize(
    ("version", "path"),
    [
        ("production", "/seq/a/b/c/execute"),
        ("draft", "/seq/a/b/c/v0/execute"),
        (0, "/seq/a/b/c/v0/execute"),
        (3, "/seq/a/b/c/v3/execute"),
    ],
)
def test_versions(version: Any, path: str) -> None:
    assert flow_path(("a", "b", "c"), version, "execute") == path


@pytest.mark.parametrize("version", [True, False, -1, 1.0, "3", "v3", "latest", None])
def test_versions_that_are_refused(version: Any, side: Any) -> None:
    with pytest.raises(ValueError, match="Invalid version"):
        side.execute([], version=version)
    with pytest.raises(ValueError, match="Invalid version"):
        side.play([], version=version)


@pytest.mark.parametrize("version", ["draft", 0])
def test_drafts_have_no_steps(version: Any, client: Noukai) -> None:
    with pytest.raises(ValueError, match="step-through on draft"):
        client.flow("a/b/c").steps(version=version)
    with pytest.raises(ValueError, match="step-through on draft"):
        client.flow("a/b/c").events(version=version)
    assert step_path(("a", "b", "c"), 2) == "/seq/a/b/c/v2/step"


def test_ids_are_quoted() -> None:
    assert segment("e/../../keys?x#y", "execution id") == "e%2F..%2F..%2Fkeys%3Fx%23y"
    for bad in ("", ".", ".."):
        with pytest.raises(ValueError, match="execution id"):
            segment(bad, "execution id")
