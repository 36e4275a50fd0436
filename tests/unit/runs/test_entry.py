from __future__ import annotations

import dataclasses
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noukai_worker.errors import EntryUnreadable
from noukai_worker.runs.entry import Entry, parse_entry, parse_page, unread

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text() | st.just(',"data":'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.just("data"), inner, max_size=3),
    max_leaves=8,
)
NAMES = ("run_id", "seq", "type", "at", "attempt", "data")
RAW = b'{"run_id":"r","seq":2,"type":"step_output","at":"t","attempt":1,"data":{"a":[1]}}'


@given(
    st.fixed_dictionaries(dict.fromkeys(NAMES, JSON), optional={"more": JSON, "data_": JSON}),
    st.randoms(),
    st.sampled_from([None, (",", ":")]),
    st.permutations(NAMES),
)
def test_what_is_looked_at_is_what_was_written_in_whatever_order(
    fields: dict[str, object], random: object, separators: tuple[str, str] | None, looks: list[str]
) -> None:
    names = list(fields)
    random.shuffle(names)  # type: ignore[attr-defined]
    raw = json.dumps({name: fields[name] for name in names}, separators=separators).encode()
    entry = unread(raw)
    assert {name: getattr(entry, name) for name in looks} == {name: fields[name] for name in NAMES}
    assert entry.raw == raw
    assert unread(raw) == parse_entry(raw) == Entry(*(fields[name] for name in NAMES), raw=raw)  # type: ignore[arg-type]


@pytest.mark.parametrize("first", NAMES)
def test_data_stays_the_same_object_whatever_is_looked_at_first(first: str) -> None:
    entry = unread(RAW)
    getattr(entry, first)
    data = entry.data
    assert (entry.type, entry.data is data) == ("step_output", True)


def test_an_entry_nobody_has_looked_at_is_like_any_other() -> None:
    entry = Entry("r", 2, "step_output", "t", 1, {"a": [1]}, raw=RAW)
    for same in (unread(RAW), pickle.loads(pickle.dumps(unread(RAW))), dataclasses.replace(unread(RAW))):
        assert (same, same.raw, repr(same)) == (entry, RAW, repr(entry))
    assert repr(entry) == ("Entry(run_id='r', seq=2, type='step_output', at='t', attempt=1, data={'a': [1]})")
    assert dataclasses.replace(unread(RAW), seq=3) != entry
    with pytest.raises(AttributeError):
        entry.seq = 3  # type: ignore[misc]
    with pytest.raises(TypeError):
        hash(entry)


@pytest.mark.parametrize("garbage", [b"{", b"7", b'{"seq": 2}', b"\xff", RAW[:-2], b"x" + RAW])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_page_with_something_of_another_outline_is_refused(garbage: bytes, at: int) -> None:
    raws = [RAW, RAW]
    raws.insert(at, garbage)
    with pytest.raises(EntryUnreadable):
        parse_page(raws)


def test_a_page_of_another_spacing_is_read() -> None:
    assert [entry.seq for entry in parse_page([RAW, RAW.replace(b":", b": "), b" " + RAW])] == [2, 2, 2]
    assert parse_page([]) == ()


@pytest.mark.parametrize("look", NAMES)
def test_broken_json_is_said_to_be_broken_when_it_is_looked_at(look: str) -> None:
    entry = unread(RAW.replace(b"[1]", b"[1"))
    with pytest.raises(EntryUnreadable):
        getattr(entry, look)
