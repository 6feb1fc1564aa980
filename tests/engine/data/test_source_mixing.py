"""Sources with weights: how often their rows are used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tui_trainer.engine.data.rows import Row
from tui_trainer.engine.data.source_mixing import mix
from tui_trainer.store.runs.run_folder import RunFolder

FILES = [Path("a.jsonl"), Path("b.jsonl"), Path("c.jsonl")]


def rows(count: int, weight: float) -> list[Row]:
    return [Row((), f"{weight} {i}", 1.0, f"line {i}", source_weight=weight) for i in range(count)]


@pytest.mark.parametrize(
    ("weight", "used"),
    [(1.0, 10), (2.0, 20), (2.5, 25), (0.5, 5), (0.001, 1), (0.999, 10), (1.25, 13)],
)
def test_rows_are_used_as_often_as_the_weight_says(weight: float, used: int) -> None:
    own = rows(10, weight)
    plain = [replace(row, text=f"plain {row.text}") for row in rows(7, 1.0)]
    mixed, reports = mix([*plain, *own], FILES[:2], [1.0, weight], 3)
    counts = Counter(row.text for row in mixed)
    assert len(mixed) == 7 + used
    assert all(counts[row.text] == 1 for row in plain)
    if weight != 1:
        assert all(counts[row.text] in (int(weight), int(weight) + 1) for row in own)
        assert [(r.files, r.weight, r.rows, r.used) for r in reports] == [
            (["b.jsonl"], weight, 10, used)
        ]
    else:
        assert mixed == [*plain, *own] and not reports


def test_the_choice_depends_on_the_seed_alone() -> None:
    own = rows(40, 0.5)
    one, again, other = (mix(own, FILES[:1], [0.5], seed)[0] for seed in (1, 1, 2))
    assert one == again and one != other and len(one) == len(other) == 20


def test_small_files_of_the_same_weight_share_the_draw() -> None:
    own = [replace(row, where=f"{i}") for i, row in enumerate(rows(3, 0.5))]
    mixed, (report,) = mix(own, FILES, [0.5] * 3, 0)
    assert len(mixed) == report.used == 2
    assert report.files == ["a.jsonl", "b.jsonl", "c.jsonl"]


def test_a_run_reports_its_sources(
    make_run: Callable[..., RunFolder],
    run_engine: Callable[..., int],
    write_rows: Callable[..., Path],
) -> None:
    files = [
        write_rows(f"{name}.jsonl", [{"question": f"{name} {i}?", "answer": "x"} for i in range(4)])
        for name in ("one", "two")
    ]
    sources = [str(files[0]), {"path": str(files[1]), "weight": 3.0}]
    folder = make_run(data={"train": sources}, training={"max_steps": 1, "eval_every": 0})
    assert run_engine(folder) == 0
    report = folder.data()
    assert report is not None
    assert report.train.examples + report.validation.examples >= 4
    (source,) = report.sources
    assert source.used == 3 * source.rows and source.files == ["two.jsonl"]
    assert "two.jsonl: weight 3, so that" in folder.events_file.read_text()
