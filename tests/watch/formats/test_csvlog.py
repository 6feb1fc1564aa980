"""CSV logs of Lightning, Keras and others."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.watch.formats.reading import drain, points, read_run
from tui_trainer.watch.formats.csvlog import CsvSource, holds_metrics

LIGHTNING = """epoch,lr-AdamW,step,train_loss,val_loss
0,,9,2.5,
,0.001,9,,
0,,19,2.25,
0,,19,,2.0
1,,29,nan,
"""


def put(path: Path, content: str, age: float = 0.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_lightnings_rows_of_training_and_evaluation(tmp_path: Path) -> None:
    path = put(tmp_path / "version_0" / "metrics.csv", LIGHTNING)
    put(tmp_path / "version_0" / "hparams.yaml", "lr: 1.0e-3\n")
    view = read_run(path, "csv")
    assert points(view.train, "loss") == [(9, 2.5), (19, 2.25), (29, -1)]
    assert points(view.train, "learning_rate") == [(9, 0.001)]
    assert points(view.evals, "val_loss") == [(19, 2)]
    assert (view.summary.tool, view.config) == ("Lightning CSV", {"hparams.lr": 0.001})
    assert view.warnings == ()


def test_keras_counts_epochs(tmp_path: Path) -> None:
    path = put(tmp_path / "log.csv", "epoch,accuracy,loss,val_loss\n0,0.5,2,3\n1,0.75,1,1.5\n")
    view = read_run(path, "csv")
    assert points(view.train, "loss") == [(0, 2), (1, 1)]
    assert points(view.train, "accuracy") == [(0, 0.5), (1, 0.75)]
    assert points(view.evals, "val_loss") == [(0, 3), (1, 1.5)]
    assert view.warnings == ("log.csv: has no steps; epochs are used as steps",)
    assert view.summary.tool == "Keras CSV"


def test_quoted_cells_other_marks_and_words(tmp_path: Path) -> None:
    path = put(
        tmp_path / "a.csv", '\ufeffstep;loss;"note"\r\n1;2.0;"a;b"\r\n2;1.5;"two\nlines"\r\n'
    )
    view = read_run(path, "csv")
    assert points(view.train, "loss") == [(1, 2), (2, 1.5)]
    assert view.train.names() == ("loss",)
    assert view.warnings == ()


def test_a_header_that_changes_within_the_file(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", "step,loss\n1,2\nstep,loss,lr\n2,1,0.5\n3,1\n")
    view = read_run(path, "csv")
    assert points(view.train, "loss") == [(1, 2), (2, 1)]
    assert points(view.train, "learning_rate") == [(2, 0.5)]
    assert view.warnings == (
        "a.csv: 1 line has a different number of cells than the header",
        "a.csv: the header changes within the file",
    )


def test_a_file_that_grows_byte_by_byte(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    source = CsvSource(path)
    with path.open("wb", buffering=0) as file:
        for byte in LIGHTNING.encode():
            file.write(bytes([byte]))
            drain(source)
    assert points(source.history.train.table(), "loss") == [(9, 2.5), (19, 2.25), (29, -1)]
    assert source.warnings() == []


def test_a_metric_that_lightning_adds_is_no_oddity(tmp_path: Path) -> None:
    path = put(tmp_path / "metrics.csv", "epoch,step,train_loss\n0,9,2\n0,19,1.5\n")
    source = CsvSource(path)
    drain(source)
    put(path, "epoch,step,train_loss,val_loss\n0,9,2,\n0,19,1.5,\n0,19,,3\n")
    drain(source)
    assert points(source.history.train.table(), "loss") == [(9, 2), (19, 1.5)]
    assert points(source.history.evals.table(), "val_loss") == [(19, 3)]
    assert source.warnings() == []
    put(path, "step,loss\n1,1\n")
    drain(source)
    assert points(source.history.train.table(), "loss") == [(1, 1)]
    assert source.warnings() == [
        "metrics.csv: replaced or truncated, and read again from its start"
    ]


def test_the_last_line_counts_once_the_file_is_quiet(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", "step,loss\n1,2\n2,1", age=0)
    source = CsvSource(path)
    drain(source)
    assert len(source.history.train.table()) == 1
    os.utime(path, (time.time() - 60,) * 2)
    drain(source)
    assert points(source.history.train.table(), "loss") == [(1, 2), (2, 1)]


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"step,loss\n1,2\n", True),
        (b"epoch\tloss\n0\t2.5\n", True),
        (b"step,loss\n", False),
        (b"text,category\nhello,3\n", False),
        (b"step,name\n1,anna\n", False),
        (b"1,2\n3,4\n", False),
        (b"", False),
        (b"\x00\x01step,loss\n1,2\n", False),
    ],
)
def test_what_counts_as_a_log(head: bytes, expected: bool) -> None:
    assert holds_metrics(head) is expected
