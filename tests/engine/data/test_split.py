"""Empty, duplicate, shared and long rows are counted and reported, and the split is disjoint."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_trainer.contracts.runs.data_report import DataReport
from tui_trainer.engine.data import dataset as dataset_module
from tui_trainer.engine.data import near_duplicates, split
from tui_trainer.models.base_model import load_tokenizer
from tui_trainer.store import jobs
from tui_trainer.store.runs.run_folder import RunFolder

LONG = "a lighthouse keeper counts the ships that pass the northern rocks every single winter night"


@pytest.fixture(scope="session")
def tokenizer(tiny_base: Path) -> Any:
    return load_tokenizer(str(tiny_base))


def dataset(tokenizer: Any, file: Path, **settings: Any) -> dataset_module.Dataset:
    values = {"data": {"train": str(file), **settings}}
    return dataset_module.load_dataset(jobs.check_job(values, file.parent, "test"), tokenizer)


def qa(question: str, answer: str = "yes") -> dict[str, object]:
    return {"question": question, "answer": answer}


def test_duplicates_and_long_rows_are_counted_and_reported(
    write_rows: Callable[..., Path], tokenizer: Any
) -> None:
    train = write_rows(
        "train.jsonl",
        [
            qa("who?"),
            qa("who? "),  # again, but for white space
            qa(LONG),
            qa(LONG.upper() + "!"),  # the same words
            qa(f"well, {LONG}"),  # one word more
            qa("  "),
            {"question": "null?", "answer": None},
            qa("x" * 150),
        ],
    )
    held = write_rows("val.jsonl", [qa("who?"), qa(f"so, {LONG}"), qa("new?"), qa("", "no")])
    found = dataset(tokenizer, train, validation=str(held), max_length=140)
    report = found.report
    assert (report.train.rows, report.train.empty, report.train.cut) == (8, 2, 1)
    assert (report.train.unanswered, report.train.examples) == (1, 5)
    assert (report.validation.rows, report.validation.empty, report.validation.examples) == (
        3,
        1,
        2,
    )
    repeats = report.repeats
    assert (repeats.exact, repeats.near, repeats.dropped) == (1, 2, 0)
    assert (repeats.shared, repeats.shared_near, repeats.removed) == (1, 1, 1)
    assert found.notices == [
        "2 training rows left out: empty (train.jsonl line 6, train.jsonl line 7)",
        "1 of 6 training rows longer than 140 tokens: cut",
        "1 training row left out: no answer within 140 tokens",
        "1 validation row left out: empty (val.jsonl line 4)",
        '1 duplicate training row: kept (data.duplicates = "drop" drops them)',
        "2 near-duplicate training rows: kept",
        "1 validation row also in training: removed from validation",
        "1 validation row nearly the same as a training row: kept",
    ]
    dropped = dataset(tokenizer, train, duplicates="drop", max_length=140)
    assert (dropped.report.repeats.dropped, dropped.report.train.examples) == (1, 4)


def test_rows_with_other_numbers_or_signs_are_not_exact_duplicates(
    write_rows: Callable[..., Path], tokenizer: Any
) -> None:
    file = write_rows("t.jsonl", [qa("a + b", "1"), qa("a - b", "1"), qa("a + B", "1")])
    repeats = dataset(tokenizer, file, duplicates="drop").report.repeats
    assert (repeats.exact, repeats.dropped, repeats.near) == (0, 0, 2)


def test_a_shared_system_turn_does_not_make_duplicates(
    write_rows: Callable[..., Path], tokenizer: Any
) -> None:
    rows = [{"system": LONG, "question": q, "answer": q[::-1]} for q in ("north?", "tide?", "fog?")]
    assert dataset(tokenizer, write_rows("t.jsonl", rows)).report.repeats.near == 0


def test_near_duplicates_equal_those_of_comparing_all_pairs() -> None:
    chance = random.Random(5)
    words = [f"w{i}" for i in range(400)]
    texts = []
    for _ in range(40):
        base = chance.choices(words, k=60)
        for changes in range(6):
            own = list(base)
            for _ in range(changes):
                own[chance.randrange(60)] = chance.choice(words)
            texts.append(" ".join(own))
    found = near_duplicates.near_groups(texts, len(texts))
    assert found is not None
    groups = found.tolist()
    sets = [near_duplicates._shingles(near_duplicates._words(text)) for text in texts]
    parent = list(range(len(texts)))
    for one, other in itertools.combinations(range(len(texts)), 2):
        if near_duplicates._similarity(sets[one], sets[other]) >= near_duplicates.SIMILAR:
            near_duplicates._union(parent, one, other)
    assert groups == [near_duplicates._find(parent, i) for i in range(len(texts))]
    assert 40 < len(set(groups)) < len(texts)


def test_above_the_limit_only_exact_duplicates_are_searched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(near_duplicates, "MOST_ROWS", 3)
    assert near_duplicates.near_groups(["a"] * 4, 4) is None


@given(
    st.lists(st.integers(0, 12), min_size=2, max_size=60).filter(lambda g: len(set(g)) > 1),
    st.floats(0.05, 0.6),
    st.integers(0, 9),
)
def test_a_split_keeps_groups_together(groups: list[int], share: float, seed: int) -> None:
    chosen = split.hold_out(np.array(groups), share, seed).tolist()
    inside = {g for g, out in zip(groups, chosen, strict=True) if out}
    outside = {g for g, out in zip(groups, chosen, strict=True) if not out}
    assert inside and outside and not inside & outside
    assert chosen == split.hold_out(np.array(groups), share, seed).tolist()


def test_duplicates_are_never_on_both_sides_of_the_split(
    write_rows: Callable[..., Path], tokenizer: Any
) -> None:
    rows = [qa(f"{LONG} {i % 30} and then {i % 30} more {i % 30}", f"n{i % 30}") for i in range(90)]
    found = dataset(tokenizer, write_rows("t.jsonl", rows), val_split=0.2)
    sides = [{tuple(e.input_ids) for e in part} for part in (found.train, found.validation)]
    assert sides[0] and sides[1] and not sides[0] & sides[1]
    splits = []
    for seed in (42, 42, 7):
        values = {
            "data": {"train": str(write_rows("s.jsonl", rows)), "val_split": 0.2},
            "training": {"seed": seed},
        }
        job = jobs.check_job(values, Path(), "test")
        splits.append(dataset_module.load_dataset(job, tokenizer).report.fingerprint)
    assert splits[0] == splits[1] != splits[2]


def test_a_run_reports_its_data_and_refuses_other_data_on_resume(
    make_run: Callable[..., RunFolder], run_engine: Callable[..., int], tmp_path: Path
) -> None:
    rows = [qa(f"what is {i}?", f"the cat {i}") for i in range(20)] + [
        qa("what is 3?", "the cat 3")
    ]
    settings = {"max_steps": 2, "eval_every": 0, "checkpoint_every": 0}
    folder = make_run(rows, training=settings)
    assert run_engine(folder) == 0
    (event,) = [event for event in folder.events() if event.kind == "data"]
    report = folder.data()
    assert report is not None
    assert msgspec.convert(event.detail, DataReport) == report
    assert event.message.startswith(f"{report.train.examples} training examples, ")
    assert report.repeats.exact == 1
    warnings = [event.message for event in folder.events() if event.kind == "warning"]
    assert any("duplicate training row" in message and ": kept" in message for message in warnings)
    first_step = json.loads(folder.metrics_file.read_text().splitlines()[0])
    assert event.time < first_step["time"]

    rows[4] = qa("what is four?", "the dog")  # as many rows as before
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run_engine(folder, "--from", "2") == 2
    assert "the data has changed since the run started" in folder.events()[-1].message


def test_every_class_has_its_share_in_validation(
    write_rows: Callable[..., Path], tokenizer: Any
) -> None:
    sizes = {"often": 60, "seldom": 20, "rare": 10, "once": 1}
    rows = [
        {"text": f"{label} {'xyzw'[i % 4]} {i} {LONG[i % 40 : i % 40 + 9]}", "label": label}
        for label, size in sizes.items()
        for i in range(size)
    ]
    random.Random(2).shuffle(rows)
    file = write_rows("t.jsonl", rows)
    held: set[tuple[int, ...]] = set()
    for seed in range(5):
        values = {
            "task": "classification",
            "data": {"train": str(file), "val_split": 0.2},
            "training": {"seed": seed},
        }
        job = jobs.check_job(values, Path(), "test")
        found, again = (dataset_module.load_dataset(job, tokenizer) for _ in range(2))
        counts = {label.label: label.validation for label in found.report.labels}
        assert counts == {"often": 12, "seldom": 4, "rare": 2, "once": 0}
        assert found == again
        held.add(tuple(e.input_ids[5] for e in found.validation))
        sides = [{tuple(e.input_ids) for e in part} for part in (found.train, found.validation)]
        assert not sides[0] & sides[1]
    assert len(held) == 5, "another seed holds out others"


@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from("abc")), min_size=2, max_size=60).filter(
        lambda rows: len({group for group, _ in rows}) > 1
    ),
    st.floats(0.05, 0.6),
)
def test_a_split_by_class_keeps_groups_together(rows: list[tuple[int, str]], share: float) -> None:
    groups = [group for group, _ in rows]
    labels = np.array(["abc".index(label) + 1 for _, label in rows])
    chosen = split.hold_out(np.array(groups), share, 1, labels).tolist()
    inside = {g for g, out in zip(groups, chosen, strict=True) if out}
    outside = {g for g, out in zip(groups, chosen, strict=True) if not out}
    assert inside and outside and not inside & outside
