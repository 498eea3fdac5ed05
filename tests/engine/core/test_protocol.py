"""Every event survives its JSON form; what is no event is refused."""

import json
from typing import Any

import pytest
from event_json import EVENTS, from_json
from hypothesis import given
from hypothesis import strategies as st

from hero_engine.core.events import Event, Finished, PhaseStarted, Progress, with_current_names

finite = st.floats(allow_nan=False)
numbers = st.integers(0, 2**40)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "int": numbers,
    "str": st.text(),
    "bool": st.booleans(),
    "float": finite,
    "int | None": st.none() | numbers,
    "float | None": st.none() | finite,
    "tuple[int, ...]": st.lists(numbers).map(tuple),
    "tuple[str, ...]": st.lists(st.text()).map(tuple),
    "tuple[dict[str, Any], ...]": st.lists(st.dictionaries(st.text(), numbers)).map(tuple),
    "dict[str, float]": st.dictionaries(st.text(), finite),
}


def any_of(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Events of one kind, each field of any value of its type."""
    fields = {k: FIELDS[v] for k, v in kind.__annotations__.items() if k != "event"}
    return st.builds(kind, **fields)


@given(st.one_of([any_of(kind) for kind in EVENTS]))
def test_every_event_survives_its_json_form(event: Event) -> None:
    line = event.to_json()
    assert from_json(line) == event
    assert "\n" not in line and next(iter(json.loads(line))) == "event"


def test_every_event_is_known_by_one_name() -> None:
    assert len({kind.event for kind in EVENTS}) == len(EVENTS)


def test_fields_with_a_default_may_be_left_out() -> None:
    line = '{"event": "progress", "round": 1, "phase": "sampling", "step": "sample",'
    assert from_json(line + ' "done": 2, "total": 4}') == Progress(1, "sampling", "sample", 2, 4)
    line = '{"event": "finished", "run": "/r", "rounds": 1, "labels": 2, "reason": "budget"}'
    assert from_json(line) == Finished("/r", 1, 2, "budget", "")


def test_metrics_of_older_runs_have_the_current_names() -> None:
    old = {"round": 3, "metrics": {"behind": 1.0, "stand_ins": 4.0, "loss": 0.5}}
    current = {"staleness": 1.0, "assumed_negatives": 4.0, "loss": 0.5}
    assert with_current_names(old) == {"round": 3, "metrics": current}
    assert with_current_names(with_current_names(old)) == with_current_names(old)
    assert with_current_names({"round": 3}) == {"round": 3}


@pytest.mark.parametrize(
    "line",
    [
        "",
        "round 0",
        PhaseStarted(0, "sampling").to_json()[:-3],
        "null",
        '["phase"]',
        "{}",
        '{"event": "picnic"}',
        '{"event": ["phase"], "round": 0, "phase": "sampling"}',
        '{"event": "phase", "round": 0}',
        '{"event": "phase", "round": 0, "phase": "sampling", "colour": "red"}',
    ],
)
def test_a_line_that_is_not_an_event_is_refused(line: str) -> None:
    with pytest.raises(ValueError):
        from_json(line)
