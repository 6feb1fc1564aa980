"""Hardware samples reach the advisor at the same step live, after a resume and in a replay."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tui_trainer.advisor.replay import LAG_SECONDS, replay
from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.engine.records.hardware_samples import DelayedSamples


def sample(time: float, share: float) -> HardwareSample:
    return HardwareSample(time=time, ram_used=round(share * 100), ram_total=100)


def write(file: Path, *samples: HardwareSample, torn: bytes = b"") -> None:
    with file.open("ab") as stream:
        stream.write(b"".join(msgspec.json.encode(one) + b"\n" for one in samples) + torn)


def test_samples_come_delayed_once_and_not_again_after_a_resume(tmp_path: Path) -> None:
    file = tmp_path / "hardware.jsonl"
    live = DelayedSamples(file, 0.0)
    assert list(live.until(100.0)) == []
    write(file, sample(101.0, 0.5), sample(103.0, 0.6), torn=b'{"time": 10')
    assert list(live.until(104.0)) == []
    assert [one.time for one in live.until(101.0 + LAG_SECONDS)] == [101.0]
    assert live.last_time == 101.0
    resumed = DelayedSamples(file, live.last_time)
    write(file, torn=b"4.5}\n")
    assert [one.time for one in resumed.until(130.0)] == [103.0, 104.5]
    assert [one.time for one in live.until(130.0)] == [103.0, 104.5]


def test_full_memory_is_reported_at_the_same_step_as_in_a_replay(tmp_path: Path) -> None:
    from tui_trainer.advisor.advisor import Advisor

    samples = [sample(100.0 + 2 * at, 0.3 if at < 5 else 0.99) for at in range(20)]
    rows = [{"step": step, "loss": 1.0, "time": 100.0 + step} for step in range(1, 60)]
    file = tmp_path / "hardware.jsonl"
    advisor, source, messages = Advisor(), DelayedSamples(file, 0.0), []
    written = 0
    for row in rows:
        while written < len(samples) and samples[written].time <= row["time"]:
            write(file, samples[written])
            written += 1
        for one in source.until(row["time"]):
            messages += advisor.observe_hardware(one)
        messages += advisor.observe(row)
    assert [advice.kind for advice in messages][:1] == ["memory"]
    assert messages == replay(rows, hardware=samples).reports
