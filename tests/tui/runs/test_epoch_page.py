"""The page with the results by epoch."""

from __future__ import annotations

from tests.watch.runs.details.test_epochs import SUMMARY, view
from tui_trainer.tui.runs.epoch_page import epochs
from tui_trainer.watch.runs.details.run_details import RunDetails
from tui_trainer.watch.snapshots import RunView


def test_the_table_fits_and_marks_the_best_epoch() -> None:
    lines = epochs(RunDetails(view()), 73).plain.split("\n")
    assert all(len(line) <= 73 for line in lines)
    assert lines[0].split() == [
        "epoch", "loss", "val_loss", "acc", "val", "acc", "rate", "time", "samples/s",
    ]  # fmt: skip
    assert lines[1].split()[:5] == ["1", "3", "2.500", "0.200", "0.200"]
    assert lines[1].endswith("best") and not lines[2].endswith("best")
    assert lines[3].split()[:3] == ["3", "(50", "%)"]


def test_the_least_important_columns_are_left_out_where_there_is_no_room() -> None:
    titles = epochs(RunDetails(view()), 52).plain.split("\n")[0].split()
    assert titles[-1] == "time" and "rate" not in titles
    assert "step" in epochs(RunDetails(view()), 107).plain.split("\n")[0]


def test_a_run_without_epochs_says_so() -> None:
    assert epochs(RunDetails(RunView(SUMMARY)), 73).plain == "no epochs recorded"
