"""Where the error of one run, file or line ends."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.watch import faults
from tests.watch.folders import add_rows
from tui_trainer.contracts.errors import reason_of
from tui_trainer.store.regular_files import open_regular, read_regular
from tui_trainer.store.runs import checkpoints
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.watch.formats.record_columns import RowBuilder
from tui_trainer.watch.formats.scalar_series import ScalarSource
from tui_trainer.watch.run_location import RunLocation
from tui_trainer.watch.runs import run_reader as run_module
from tui_trainer.watch.runs.run_reader import RunReader
from tui_trainer.watch.snapshots import RunView
from tui_trainer.watch.tables.metric_decoder import MOST_COLUMNS
from tui_trainer.watch.tables.metrics_file import MetricsFile


def read_file(path: Path) -> MetricsFile:
    file = MetricsFile(path)
    while file.read()[1]:
        pass
    return file


def read_run(folder: Path) -> tuple[RunReader, RunView]:
    reader = RunReader(RunLocation(folder, "run", folder.name, folder.name))
    while reader.read()[1]:
        pass
    return reader, reader.view()


NAMES = ('acc "top1"', "a\\b", "tab\there", "zero\0", "é\n", '"', "plain", "\\u0022", "\ue0000")


@pytest.mark.parametrize("ascii_only", [True, False])
def test_names_that_need_an_escape_are_columns(tmp_path: Path, ascii_only: bool) -> None:
    path = tmp_path / "metrics.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for step in range(1, 2_001):
            row = {"step": step, **{name: step + at for at, name in enumerate(NAMES)}}
            file.write(json.dumps(row, ensure_ascii=ascii_only) + "\n")
    table = read_file(path).history.train.table()
    for at, name in enumerate(NAMES):
        assert table.column(name).tolist() == [step + at for step in range(1, 2_001)]


def test_one_name_spelled_in_several_ways_is_one_column(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    spelled = ('"a\\"b"', '"a\\u0022b"', '"\\u0061\\"b"')
    lines = [
        f'{{"step": {n}, "note": "a\\"b", {spelled[n % 3 if n > 900 else 0]} : {n}.5}}'
        for n in range(1, 1_201)
    ]
    path.write_text("\n".join(lines) + "\n")
    table = read_file(path).history.train.table()
    assert table.column('a"b').tolist() == [n + 0.5 for n in range(1, 1_201)]


def test_tens_of_thousands_of_names_are_bounded() -> None:
    rows, source = RowBuilder(), ScalarSource()
    for n in range(20_000):
        rows.add(1.0, [(f"metric {n}", 1.0)])
        source.add_in_order(0.0, 1.0, source.naming(f"metric {n}"), 1.0)
    assert rows.left_out
    assert source.rows.left_out
    for kept in (rows.seen, rows._evals, source._kinds, source._last, source._series):
        assert len(kept) <= MOST_COLUMNS
    assert len(source.naming._known) < 5_000


def test_a_failure_is_shown_and_read_again_once_the_files_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "RETRY_SECONDS", 0.0)
    faults.make_unreadable(tmp_path, monkeypatch)
    reader, view = read_run(tmp_path / "bad")
    assert view.summary.problem == "cannot be read: KeyError: 'unforeseen'"
    assert view.summary.status == "completed"
    assert view.warnings[0] == view.summary.problem
    assert reader.read() == (False, False)
    (tmp_path / "bad" / "metrics.jsonl").unlink()
    add_rows(tmp_path / "bad" / "metrics.jsonl", 1, 2)
    while reader.read()[1]:
        pass
    assert reader.view().summary.problem == ""
    assert reader.view().train.rows == 2


def test_a_log_that_cannot_be_read_takes_no_other_file_along(tmp_path: Path) -> None:
    faults.RUNS["events are a pipe"](tmp_path)
    _, view = read_run(tmp_path / "bad")
    assert view.train.rows == faults.GOOD_ROWS
    assert view.warnings == ("events.jsonl cannot be read: not a regular file",)


def test_the_first_bad_line_of_a_log_is_named(tmp_path: Path) -> None:
    folder = faults.make_good(tmp_path)
    good = b'{"time": 1, "step": 1, "kind": "state"}\n'
    (folder / "events.jsonl").write_bytes(good + faults.deep_line() + good + b'{"kind": "\xff"}\n')
    _, view = read_run(folder)
    assert len(view.events) == 2
    (messages,) = view.warnings
    assert messages.startswith("events.jsonl: 2 lines cannot be read (the first is line 2: ")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"", b"a" * 100_000, b"\0", b"../../x"])
def test_what_is_in_best_is_no_fault_of_the_run(tmp_path: Path, content: bytes) -> None:
    folder = RunFolder(tmp_path)
    saved = folder.checkpoints_dir / "step-00000001"
    saved.mkdir(parents=True)
    (saved / "weights").write_bytes(b"x")
    checkpoints.seal(saved, 1)
    (folder.checkpoints_dir / "best").write_bytes(content)
    checkpoints.best_name(folder)
    assert checkpoints.find_checkpoint(folder, None) == saved


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    assert read_regular(tmp_path / "file") == b"content"
    assert read_regular(tmp_path / "file", 3) == b"con"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    for name in ("pipe", "device", "."):
        with pytest.raises(OSError, match="not a"):
            open_regular(tmp_path / name)


def test_a_reason_is_one_short_line() -> None:
    assert reason_of(KeyError("a\nb" * 1_000)).count("\n") == 0
    assert len(reason_of(ValueError("x" * 10_000))) < 300
    assert reason_of(PermissionError(13, "Permission denied", "f")) == "Permission denied"
