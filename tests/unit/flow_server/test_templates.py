"""Placeholders: values in place, text in text, braces on demand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from noukai_worker.dev.flow_server.templates import fill, unknown_roots
from noukai_worker.dev.flow_server.work import _pieces

VALUES: dict[str, JsonValue] = {
    "message": "hi",
    "parameters": {"tone": "dry", "list": [1, {"x": None}]},
    "previous": {"text": "p"},
    "steps": {"step-a": "A"},
}


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("{message}", "hi"),
        ("<{message}>", "<hi>"),
        ("{previous}", {"text": "p"}),
        ("<{previous}>", '<{"text": "p"}>'),
        ("{previous.text}", "p"),
        ("{parameters.list.1.x}", None),
        ("{parameters.list.0}", 1),
        ("{parameters.list.9}", None),
        ("<{parameters.missing}>", "<>"),
        ("{message.no.such}", None),
        ("{steps.step-a}", "A"),
        ("{{message}}", "{message}"),
        ("{{{message}}}", "{hi}"),
        ("{{", "{"),
        ('{"a": 1}', '{"a": 1}'),
        ({"a": ["{message}", 1, None]}, {"a": ["hi", 1, None]}),
    ],
)
def test_fill(template: JsonValue, filled: JsonValue) -> None:
    assert fill(template, VALUES) == filled


def test_a_value_is_not_itself_a_template() -> None:
    assert fill("<{message}>", {"message": "{previous}", "previous": "no"}) == "<{previous}>"


def test_unknown_roots_are_found_wherever_they_are() -> None:
    assert unknown_roots({"a": ["{message}", "{mesage}"], "b": "{{fine}} {odd.x}"}) == ["mesage", "odd"]


@given(st.text())
def test_braces_can_always_be_escaped(text: str) -> None:
    assert fill(text.replace("{", "{{").replace("}", "}}"), {}) == text


@given(st.text(alphabet="ab \n\t.ł", max_size=60), st.integers(1, 4))
def test_pieces_join_to_the_text_and_hold_so_many_words(text: str, words: int) -> None:
    pieces = list(_pieces(text, words))
    assert "".join(pieces) == text
    assert all(len(piece.split()) == words for piece in pieces[:-1])
