"""Runs side by side: what differs, and which came out better."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tui_trainer.tui.runs.compare_table import contrast_text
from tui_trainer.watch.runs.details.run_diff import ResultRow, compare_runs, differing_config
from tui_trainer.watch.snapshots import RunSummary, RunView
from tui_trainer.watch.tables.metrics_file import MetricsFile


def view(tmp_path: Path, name: str, losses: list[float], **config: Any) -> RunView:
    file = tmp_path / f"{name}.jsonl"
    lines = [
        f'{{"kind":"train","step":{n},"loss":{loss},"tokens":100,"time":{n * 2}}}\n'
        for n, loss in enumerate(losses, 1)
    ]
    lines.append(f'{{"kind":"eval","step":{len(losses)},"val_loss":2.5,"val_accuracy":0.5}}\n')
    file.write_text("".join(lines))
    metrics = MetricsFile(file)
    while metrics.read()[1]:
        pass
    train, evals = metrics.history.train.table(), metrics.history.evals.table()
    row = RunSummary(file, name, name, "jsonl", "recorded", step=len(losses), loss=losses[-1])
    return RunView(row, train=train, evals=evals, config=config)


def test_the_better_value_is_reported_with_its_step(tmp_path: Path) -> None:
    a = view(tmp_path, "a", [3.0, 1.0, 2.0], **{"lora.rank": 8, "seed": 1})
    b = view(tmp_path, "b", [3.0, 2.0, 1.5, 1.4], **{"lora.rank": 16, "seed": 1, "extra": None})
    found = compare_runs([a, b])
    measures = {measure.name: measure for measure in found.results}
    best, final = measures["best loss"], measures["final loss"]
    assert best.values == (1.0, 1.4) and best.steps == (2.0, 4.0) and best.best == (0,)
    assert final.values == (2.0, 1.4) and final.best == (1,)
    assert measures["best val_loss"].best == ()  # equal: neither is better
    assert measures["time"].values == (4.0, 6.0) and measures["time"].best == ()
    assert measures["tokens/s"].values == (75.0, 400 / 6)
    differing = [(item.key, item.values) for item in found.differing]
    assert differing == [("lora.rank", ("8", "16")), ("extra", (None, "none"))]
    assert found.same == 1


def test_a_result_as_text() -> None:
    loss = ResultRow("best loss", "number", (0.5, None), "low", (20.0, None))
    assert [loss.text(0), loss.text(1)] == ["0.5000 @ 20", "–"]
    assert ResultRow("time", "seconds", (724.0,)).text(0) == "12:04"
    assert ResultRow("learning rate", "rate", (2e-4,)).text(0) == "2e-4"


def test_of_accuracy_more_is_better(tmp_path: Path) -> None:
    views = [view(tmp_path, "a", [3.0]), view(tmp_path, "b", [2.0])]
    measures = {measure.name: measure.better for measure in compare_runs(views).results}
    assert measures["best val_accuracy"] == "high" and measures["best val_loss"] == "low"


@given(
    st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 2)), min_size=1, max_size=4)
)  # fmt: skip
def test_every_key_differs_or_is_the_same(configs: list[dict[str, int]]) -> None:
    differing, same = differing_config(configs)
    assert len(differing) + same == len({key for config in configs for key in config})
    for item in differing:
        assert len(set(item.values)) > 1 and len(item.values) == len(configs)


@given(st.lists(st.none() | st.floats(), max_size=5).map(tuple))
def test_best_is_a_known_value(values: tuple[float | None, ...]) -> None:
    indices = ResultRow("x", "number", values, "low").best
    finite = [value for value in values if value is not None and np.isfinite(value)]
    for index in indices:
        assert values[index] == min(finite)


def test_the_text_folds_to_its_width(tmp_path: Path) -> None:
    views = [
        view(tmp_path, f"run-with-a-long-name-{n}", [3.0, 2.0 - n / 10], **{"training.rate": n})
        for n in range(8)
    ]
    for width in (56, 76, 116, 216):
        text = contrast_text(views, "ABCDEFGH", width)
        assert max(map(len, text.plain.split("\n"))) <= width
        for letter in "ABCDEFGH":  # each run has its column, in one band or another
            assert f"{letter} run-" in text.plain
        assert text.plain.count("◆ 1.300") == 2  # best and final loss of the last run
