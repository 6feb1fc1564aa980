"""What holds for any records: nothing raises, the state is plain and bounded, and whoever saves
and restores it gets what an uninterrupted advisor gets."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.advisor.stories import advise, descent, run
from tui_trainer.advisor.advisor import Advisor
from tui_trainer.contracts.advice import Advice, AdvisorSettings, JobFacts

_NUMBERS = st.one_of(
    st.none(),
    st.floats(),
    st.integers(-(10**400), 10**400),
    st.sampled_from([math.nan, math.inf, -math.inf, 1e308, 0.0, -1.0, "text", True, [], {}]),
    st.floats(0, 10),
)
_FIELDS = [
    "loss", "learning_rate", "gradient_norm", "val_loss", "step_time_ms", "data_time_ms", "time",
]  # fmt: skip
_ROWS = st.lists(
    st.dictionaries(st.sampled_from(_FIELDS), _NUMBERS), min_size=1, max_size=60
).flatmap(
    lambda rows: st.lists(
        st.one_of(st.none(), st.integers(-5, 200)), min_size=len(rows), max_size=len(rows)
    ).map(
        lambda steps: [
            row if step is None else {**row, "step": step}
            for row, step in zip(rows, steps, strict=True)
        ]
    )
)


def check_plain(state: dict[str, Any]) -> None:
    """The state survives strict JSON, so holds neither NaN nor infinities."""
    assert json.loads(json.dumps(state, allow_nan=False)) == state


@settings(max_examples=60, deadline=None)
@given(rows=_ROWS, repeat=st.integers(1, 4))
def test_no_record_whatever_raises(rows: list[dict[str, Any]], repeat: int) -> None:
    advisor = Advisor(facts=JobFacts(warmup_steps=0, total_steps=100))
    for row in rows * repeat:
        for advice in advisor.observe(row):
            assert 0 <= advice.confidence <= 1
            msgspec.json.decode(msgspec.json.encode(advice), type=Advice)
        advisor.tick(1e9)
    check_plain(advisor.state())


_TROUBLES: dict[str, dict[str, Any]] = {
    "none": {},
    "diverges": {"loss": lambda s: descent(s) + 1.5 * (150 <= s < 260)},
    "explodes": {"norm": lambda s: 60.0 if s % 97 == 0 else 1.0},
    "vanishes": {"norm": lambda s: 1e-4 if s > 150 else 1.0, "loss": lambda s: 2.0},
    "swings": {"loss": lambda s: descent(s) + 0.6 * (-1) ** s * (s > 150)},
    "too low": {"rate": lambda s: 1e-9, "loss": lambda s: 3.0},
}


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    trouble=st.sampled_from(sorted(_TROUBLES)),
    seed=st.integers(0, 1000),
    cuts=st.sets(st.integers(0, 319), max_size=12),
)
def test_saving_and_restoring_anywhere_changes_nothing(
    trouble: str, seed: int, cuts: set[int]
) -> None:
    rows = run(320, seed=seed, **_TROUBLES[trouble])
    advisor, reports = Advisor(), []
    for index, row in enumerate(rows):
        if index in cuts:
            state = json.loads(json.dumps(advisor.state()))
            advisor = Advisor()
            advisor.restore(state)
        reports += advisor.observe(row)
    assert reports == advise(rows)


def test_memory_does_not_grow_with_the_run() -> None:
    advisor = Advisor()
    sizes = []
    for row in run(12_000, noise=0.1):
        advisor.observe(row)
        if row["step"] % 10 == 0:
            advisor.observe({"step": row["step"], "val_loss": row["loss"]})
        if row["step"] % 3000 == 0:
            sizes.append(len(json.dumps(advisor.state())))
    assert max(sizes) < 1.2 * sizes[0] < 40_000
    check_plain(advisor.state())


def test_values_that_are_not_a_state_are_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        Advisor().restore({"rows": "many"})


def test_an_advisor_that_is_turned_off_reports_nothing() -> None:
    rows = run(300, loss=lambda s: descent(s) + 2.0 * (s >= 200))
    assert advise(rows, settings=AdvisorSettings(enabled=False)) == []
