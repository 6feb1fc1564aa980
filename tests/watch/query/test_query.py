"""Choosing and ordering runs by words and conditions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_trainer.watch.query import fields
from tui_trainer.watch.query.query import parse
from tui_trainer.watch.snapshots import RunSummary

RUN = RunSummary(
    path=Path("/runs/alpha-1"), id="alpha-1", name="Alpha smoke", kind="run", status="training",
    step=500, total_steps=1000, loss=1.5, best_val_loss=1.75, learning_rate=2e-4,
    tokens_per_second=18_402.0, eta_seconds=125.0, updated_at=1000.0, trend=-0.031,
)  # fmt: skip
CONFIG: dict[str, Any] = {
    "lora.rank": 16, "lora.dropout": 0.05, "training.scheduler": "cosine", "bf16": True,
    "lora.target_modules": ["q_proj", "v_proj"],
}  # fmt: skip


def holds(text: str, run: RunSummary = RUN) -> bool:
    asked = parse(text, CONFIG)
    assert asked.problem is None, asked.problem
    return asked.matches(run, now=1090.0, config=CONFIG)


@pytest.mark.parametrize(
    "text",
    [
        "", "alpha", "ALPHA smoke", "train", "-beta", "loss<2", "loss < 2", "loss<=1.5", "loss=1.5",
        "lr>=1e-4", "lr=2e-4", "status:running", "running", "status:train", "status!=paused",
        "name:smoke", 'name:"alpha smoke"', '"alpha smoke"', "-name=alpha", "tool:tui",
        "step>=0.5k",
        "progress=50%", "trend<-3%", "eta<5min", "age<2h", "age>1m", "speed>18k", "val<2 loss<2",
        "lora.rank=16", "lora.rank>8", "lora.dropout<0.1", "training.scheduler:cos", "bf16=true",
        "lora.target_modules:v_proj", "-lora.rank=8", "-best<1",
    ],
)  # fmt: skip
def test_a_run_is_found_by(text: str) -> None:
    assert holds(text)
    assert not text or not holds(f"{text} -alpha")


@pytest.mark.parametrize(
    "text",
    [
        "beta", "-alpha", "alpha beta", "loss<1", "loss>1.5", "loss!=1.5", "status:completed",
        "status:ended", "name=alpha", "lora.rank=8", "training.scheduler=cos", "best<9", "age<1m",
        "-running",
    ],
)  # fmt: skip
def test_a_run_is_not_found_by(text: str) -> None:
    assert not holds(text)


def test_a_run_that_lacks_a_number_fulfils_no_condition_on_it() -> None:
    blank = replace(RUN, loss=None, eta_seconds=float("nan"))
    assert not holds("loss<9", blank) and not holds("loss>0", blank) and not holds("loss!=3", blank)
    assert not holds("eta<9h", blank)
    # What an ended run had left says nothing.
    assert not holds("eta<9h", replace(RUN, status="completed"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("los<2", "there is no field 'los'; did you mean loss?"),
        ("rank=16", "there is no field 'rank'; did you mean lora.rank?"),
        ("lora.rnk=16", "there is no field 'lora.rnk'; did you mean lora.rank?"),
        ("loss<", "loss< needs a number, such as 2 or 1e-4"),
        ("alpha loss<two", "loss< needs a number, not 'two', such as 2 or 1e-4"),
        ("age<2weeks", "age< needs a number, not '2weeks', such as 90, 5min, 2h or 3d"),
        ("name<b", "name is text: write name:b (contains) or name=b"),
        ("status:traning", "'traning' is not a run status; did you mean training?"),
        ("zzzzzzz:1", "there is no field 'zzzzzzz'; known are name, status, tool"),
    ],
)
def test_what_cannot_be_understood_is_one_sentence(text: str, problem: str) -> None:
    asked = parse(text, CONFIG)
    assert asked.problem is not None and asked.problem.startswith(problem)
    assert "\n" not in asked.problem


def test_a_key_of_an_unknown_configuration_is_taken_on_trust() -> None:
    asked = parse("lora.rank=16")
    assert asked.problem is None and asked.needs_config
    assert not asked.matches(RUN)  # not known is not fulfilled
    assert asked.matches(RUN, config={"lora.rank": 16})


queries = st.text(st.sampled_from('loss<>=!:-"./ 129eklminfa\tµ٣²'), max_size=40) | st.text(
    max_size=60
)


@given(queries, st.sets(st.text(max_size=8), max_size=3))
def test_any_text_is_read_without_an_error(text: str, keys: set[str]) -> None:
    asked = parse(text, keys)
    assert isinstance(asked.matches(RUN, 5.0, {"a.b": [1], "c": None}), bool)
    if asked.problem is not None:
        assert asked.terms == ()


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["<", "<=", ">", ">="]))
def test_an_order_and_its_opposite_never_agree(value: float, sign: str) -> None:
    opposite = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}[sign]
    run = replace(RUN, loss=1.0)
    one, other = parse(f"loss{sign}{value!r}"), parse(f"loss{opposite}{value!r}")
    assert one.matches(run) != other.matches(run)
    assert parse(f"-loss{sign}{value!r}").matches(run) != one.matches(run)


@given(st.lists(st.none() | st.floats(), max_size=30), st.booleans())
def test_order_is_stable_and_the_unknown_come_last(values: list[float | None], fall: bool) -> None:
    runs = [replace(RUN, path=Path(f"/{at}"), loss=value) for at, value in enumerate(values)]
    ordered = fields.sort_runs(runs, "loss", fall)
    assert sorted(map(id, ordered)) == sorted(map(id, runs))
    known = [run.loss for run in ordered if run.loss is not None and run.loss == run.loss]
    assert known == sorted(known, reverse=fall)
    lacking = [run.loss is None or run.loss != run.loss for run in ordered]
    assert lacking == sorted(lacking)
    for value in set(known):
        equals = [run.path for run in ordered if run.loss == value]
        assert equals == [run.path for run in runs if run.loss == value]


def test_every_field_orders_any_run() -> None:
    bare = RunSummary(Path("/x"), "x", "x", "csv", "unknown")
    for name in fields.BY_NAME:
        assert len(fields.sort_runs([RUN, bare], name, True, 2000.0)) == 2
    assert fields.sort_runs([RUN, bare], None, True) == [bare, RUN]
