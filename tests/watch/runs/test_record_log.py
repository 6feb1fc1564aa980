"""Logs of records: the newest events, and samples of a whole night."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.store import atomic
from tui_trainer.watch.runs.record_log import RecordLog


def write(path: Path, first: int, last: int) -> None:
    with atomic.appending(path) as lines:
        for at in range(first, last):
            lines.append(HardwareSample(time=float(at)))


def times(log: RecordLog[HardwareSample]) -> list[float]:
    log.read()
    return [sample.time for sample in log.records]


def test_the_newest_are_kept(tmp_path: Path) -> None:
    write(tmp_path / "x", 0, 25)
    log = RecordLog(tmp_path / "x", HardwareSample, 10)
    assert times(log) == [float(at) for at in range(15, 25)]
    assert (log.total, log.forgotten) == (25, 15)


@given(st.integers(1, 300), st.integers(1, 300))
def test_a_thinned_log_is_of_the_whole_file_and_dense_at_its_end(first: int, more: int) -> None:
    """Whether it is read as it grows or afterwards."""
    kept = RecordLog(Path("nowhere"), HardwareSample, 20, thin=True)
    for at in range(first + more):
        kept._add(at + 1, b'{"time": %d}' % at)
    found = [sample.time for sample in kept._kept]
    assert len(found) <= 20 and found[0] == 0
    assert found == sorted(set(found))
    newest = list(range(first + more))[-10:]
    assert found[-len(newest) :] == newest


def test_a_thinned_log_starts_again_with_its_file(tmp_path: Path) -> None:
    file = tmp_path / "x"
    write(file, 0, 50)
    log = RecordLog(file, HardwareSample, 20, thin=True)
    assert times(log)[0] == 0.0
    file.unlink()
    write(file, 100, 103)
    assert times(log) == [100.0, 101.0, 102.0]
