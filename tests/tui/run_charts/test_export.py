"""What is seen goes into files: as a drawing, as characters, as data."""

from __future__ import annotations

import csv
import io
import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from tui_trainer.tui.charts.model import Palette
from tui_trainer.tui.charts.svg import SvgColours, svg_document
from tui_trainer.tui.run_charts import export as export_module
from tui_trainer.tui.run_charts.export import csv_of, export, name_of
from tui_trainer.tui.run_charts.metrics import LEARNING_RATE, LOSS, VALIDATION
from tui_trainer.tui.run_charts.plot import ChartOptions, Plot
from tui_trainer.tui.run_charts.viewport import Viewport
from tui_trainer.watch.snapshots import MetricTable, RunSummary, RunView

HOSTILE = "../a<b>&\x1b[2J=1"


def run(name: str = "one") -> RunView:
    step = np.arange(1.0, 101.0)
    loss = 3 / step
    loss[9] = math.nan
    train = MetricTable({"step": step, "time": 1e9 + step, "loss": loss,
                   "learning_rate": np.full(100, 2e-4)})  # fmt: skip
    evals = MetricTable({"step": np.array([50.0]), "val_loss": np.array([0.75])})
    summary = RunSummary(Path(f"/runs/{name}"), name, name, "jsonl", "unknown", step=100)
    return RunView(summary, train=train, evals=evals)


def plots(view: RunView, options: ChartOptions = ChartOptions()) -> list[Plot]:  # noqa: B008
    return [Plot(view, metric, options) for metric in (LOSS, LEARNING_RATE, VALIDATION)]


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_three_files_that_name_the_run(tmp_path: Path) -> None:
    messages, failed = export(plots(run()), Palette(), SvgColours(), folder=tmp_path)
    assert not failed and "one-charts-step100.svg" in messages and str(tmp_path) in messages
    found = sorted(path.name for path in tmp_path.iterdir())
    assert found == [f"one-charts-step100{suffix}" for suffix in (".csv", ".svg", ".txt")]
    text = (tmp_path / "one-charts-step100.txt").read_text()
    assert text.startswith("one: unknown, step 100\n") and "loss 0.03" in text
    assert "learning rate 2e-4" in text and "validation loss 0.7500" in text


def test_nothing_is_ever_replaced(tmp_path: Path) -> None:
    (tmp_path / "one-loss-step100.csv").write_text("mine")
    for _ in range(2):
        export(plots(run())[:1], Palette(), SvgColours(), folder=tmp_path)
    assert (tmp_path / "one-loss-step100.csv").read_text() == "mine"
    assert not (tmp_path / "one-loss-step100.svg").exists()
    assert (tmp_path / "one-loss-step100-2.svg").exists()
    assert (tmp_path / "one-loss-step100-3.csv").exists()


def test_a_folder_that_cannot_be_written_to_is_one_sentence(tmp_path: Path) -> None:
    messages, failed = export(plots(run()), Palette(), SvgColours(), folder=tmp_path / "gone")
    assert (
        failed and messages.startswith("the charts cannot be exported to ") and "gone" in messages
    )
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    export(plots(run()), Palette(), SvgColours(), folder=tmp_path)
    export(plots(run()), Palette(), SvgColours(), folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 6


def test_the_data_are_exact_and_only_those_that_are_seen() -> None:
    seen = plots(run(), ChartOptions(viewport=Viewport(20.0, 60.0, False)))
    rows = rows_of(csv_of(seen, [plot.spec() for plot in seen]))
    trained = [row for row in rows if row["kind"] == "train"]
    assert [row["step"] for row in trained] == [str(step) for step in range(40, 61)]
    assert float(trained[0]["loss"]) == 3 / 40 and float(trained[0]["learning_rate"]) == 2e-4
    (measured,) = [row for row in rows if row["kind"] == "eval"]
    assert (measured["step"], measured["val_loss"], measured["loss"]) == ("50", "0.75", "")


def test_nonfinite_values_are_empty() -> None:
    whole = plots(run())
    rows = rows_of(csv_of(whole, [plot.spec() for plot in whole]))
    assert rows[9]["step"] == "10" and rows[9]["loss"] == ""


def test_an_overlay_has_the_rows_of_all() -> None:
    one, two = run("one"), run("=two")
    plot = Plot(one, LOSS, ChartOptions(), (two,), {one.summary.path: 0, two.summary.path: 1})
    rows = rows_of(csv_of([plot], [plot.spec()]))
    assert {row["run"] for row in rows} == {"one", "'=two"} and len(rows) == 200
    assert name_of([plot]) == "one-overlay-loss-step100"
    drawing = svg_document([plot.spec()], Palette(), SvgColours())
    assert drawing.count("<path") == 3  # a line each, and the pinned run's values


def test_a_thinned_table_has_extremes() -> None:
    column = np.array([2.0, 3.0])
    table = MetricTable({"step": np.array([4.0, 8.0]), "loss": column}, thinning=4, recorded=8,
                  extremes={"loss": (column - 1, column + 1)},
                  weights=np.array([4, 4], dtype=np.int32))  # fmt: skip
    view = RunView(run().summary, train=table)
    plot = Plot(view, LOSS, ChartOptions())
    rows = rows_of(csv_of([plot], [plot.spec()]))
    assert [(row["loss"], row["loss_min"], row["loss_max"]) for row in rows] == [
        ("2", "1", "3"), ("3", "2", "4"),
    ]  # fmt: skip


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    view = run(HOSTILE)
    export(plots(view), Palette(), SvgColours(), folder=tmp_path)
    (drawing,) = tmp_path.glob("*.svg")
    assert drawing.parent == tmp_path and "\x1b" not in drawing.read_text()
    ElementTree.fromstring(drawing.read_text())  # well-formed
    other = run(HOSTILE + "2")
    slots = {view.summary.path: 0, other.summary.path: 1}
    overlay = Plot(view, LOSS, ChartOptions(), (other,), slots).spec()
    tree = ElementTree.fromstring(svg_document([overlay], Palette(), SvgColours()))
    texts = [element.text or "" for element in tree.iter() if element.tag.endswith("text")]
    assert any("a<b>&·[2J=1" in word for word in texts)
    assert "\x1b" not in "".join(path.read_text() for path in tmp_path.iterdir())


@pytest.mark.parametrize("values", [[], [math.nan], [1.0], [math.inf, -1e308, 1e308], [0.0, -1.0]])
@pytest.mark.parametrize("log", [False, True])
def test_a_drawing_of_anything_is_well_formed(values: list[float], log: bool) -> None:
    column = np.array(values, dtype=np.float64)
    table = MetricTable({"step": np.arange(float(len(column))), "loss": column})
    plot = Plot(RunView(run().summary, train=table), LOSS, ChartOptions(log_y=log, log_x=log))
    drawing = svg_document([plot.spec()], Palette(), SvgColours())
    ElementTree.fromstring(drawing)
    assert "nan" not in drawing and "inf" not in drawing


def test_a_spike_reaches_the_edge_of_the_drawing() -> None:
    column = np.full(50_000, 1.0) + np.linspace(0, 0.1, 50_000)
    column[31_234] = 99.0
    table = MetricTable({"step": np.arange(50_000.0), "loss": column})
    plot = Plot(RunView(run().summary, train=table), LOSS, ChartOptions(smoothing=0.0))
    drawing = svg_document([plot.spec()], Palette(), SvgColours())
    assert " 34.0" in drawing  # the top of the plot, in pixels
    assert export_module.name_of([plot]) == "one-loss-step100"
