"""The harness reads what it is shown; its figures are nobody's test, see docs/measurements.md."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.benchmarks.monitor import __main__ as benchmark
from tests.benchmarks.monitor import measures
from tests.benchmarks.monitor.blocks import summary
from tests.benchmarks.monitor.feeder import Feeder, line, numbers, row_of_loss
from tests.benchmarks.monitor.subjects import Ours, history_ends


class Echo(Ours):
    """A program that shows the newest row's loss and nothing else."""

    name = "echo"

    def command(self, path: Path) -> list[str]:
        program = (
            "import sys, time, json\n"
            "print('\\033[2J\\033[Hthe first words on the screen', flush=True)\n"
            "file = open(sys.argv[1] + '/run/metrics.jsonl')\n"
            "while True:\n"
            "    for line in file:\n"
            "        print('\\033[3;1Hloss', json.loads(line)['loss'], '   ', flush=True)\n"
            "    time.sleep(0.01)\n"
        )
        return [sys.executable, "-c", program, str(path)]


def test_a_run_is_fed_and_seen(tmp_path: Path) -> None:
    subject = Echo(tmp_path / "home")
    recording = subject.make(tmp_path / "runs", 30, coming=40)
    terminal = measures.show(subject, recording.path)
    try:
        terminal.wait(lambda text: "first words" in text, 20)
        terminal.wait(lambda text: subject.newest(text) == 29, 20)
        with Feeder(recording, 200) as feeder:
            terminal.wait(lambda text: subject.newest(text) == 69, 20)
        assert terminal.cpu_seconds() >= 0
        assert terminal.peak_bytes() > 2**20
        written = [at - terminal.begun for at in feeder.written]
        lag = measures.lag(subject, terminal.pieces, 30, written)
    finally:
        terminal.close()
    assert (lag.seen, lag.missed) == (40, 0)
    assert 0 < lag.p50 <= lag.p95
    lines = recording.file.read_bytes().splitlines()
    assert len(lines) == 70


def test_a_row_that_stood_there_before_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    subject = Ours(tmp_path)
    pieces = [(1.0, b"\x1b[Hloss 1.009"), (2.5, b"\x1b[Hloss 1.010"), (3.0, b"\x1b[Hloss 1.011")]
    lag = measures.lag(subject, pieces, 10, [2.0, 2.1])
    assert (lag.seen, lag.missed) == (2, 0)
    assert lag.p50 == pytest.approx((0.5 + 0.9) / 2)
    with pytest.raises(ValueError, match="no new row"):
        measures.lag(subject, pieces[:1], 10, [2.0, 2.1])


@pytest.mark.parametrize("row", [0, 1, 999, 8999, 9000, 123_456])
def test_a_loss_names_its_row(row: int) -> None:
    assert row_of_loss(numbers(row)["loss"]) == row % 9000
    assert line(row, 0.0).endswith(b"}\n")


def test_rows_of_a_wandb_file_are_found() -> None:
    def record(payload: bytes, kind: int = 1) -> bytes:
        return b"\0\0\0\0" + len(payload).to_bytes(2, "little") + bytes([kind]) + payload

    row, other = b"\x08\x96\x01\x12\x05hello", b"\x08\x01\x1a\x00"
    data = b"W&B----" + record(other) + record(row)
    ends = [len(data)]
    filler = b"\x08\x07\x12" + b"x" * 40_000  # longer than a block: cut in two
    first = 32_768 - len(data) - 7
    data += record(filler[:first], 2) + record(filler[first:], 4)
    ends.append(len(data))
    data += record(row)
    ends.append(len(data))
    data += record(other)
    assert list(history_ends(data)) == ends


def test_the_table_names_the_limits_and_what_is_missing() -> None:
    found = {"ours": {"first_paint": 0.2, "cpu_50": 4.0}, "peer": {"first_paint": 0.9}}
    text = benchmark.table(found)
    assert "| first paint | 0.20 s | 0.90 s | 0.45 s |" in text
    assert "| CPU at 50 rows/s | 4.0 % | – | 6 % |" in text
    assert '"first_paint": 0.2' in benchmark.as_json(found)


def test_pauses_are_summed_up_in_milliseconds() -> None:
    found = summary([(0.001, 0.0005), (0.02, 0.004)], 1.0)
    assert (found["wall"], found["own"], found["ticks"]) == (20.0, 4.0, 2)
