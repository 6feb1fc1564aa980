"""Files cut at every byte and with bytes changed: rows before the damage stay right."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.watch.formats.encoders import ending, event, history, scalar, tfevents, wandb_log
from tests.watch.formats.reading import drain, points
from tui_trainer.watch.formats.csvlog import CsvSource
from tui_trainer.watch.formats.detect import FormatDetector
from tui_trainer.watch.formats.tensorboard import TensorBoardSource
from tui_trainer.watch.formats.trainer_state import TrainerStateSource
from tui_trainer.watch.formats.wandb import WandbSource
from tui_trainer.watch.tables.source import Source

STEPS = range(1, 8)
EVENTS = tfevents(*(event(1e9 + s, s, scalar("train/loss", float(s))) for s in STEPS))
WANDB = wandb_log(*(history(s, train__loss=str(float(s))) for s in STEPS), ending(0))
CSV = ("step,loss\n" + "".join(f"{s},{s}.0\n" for s in STEPS)).encode()
STATE = json.dumps(
    {"global_step": 7, "log_history": [{"step": s, "loss": float(s)} for s in STEPS]}
).encode()
Open = Callable[[Path], Source]
FORMATS: dict[str, tuple[str, bytes, Open]] = {
    "tensorboard": ("events.out.tfevents.1.x", EVENTS, lambda path: TensorBoardSource(path.parent)),
    "wandb": ("run-x.wandb", WANDB, WandbSource),
    "csv": ("metrics.csv", CSV, CsvSource),
    "trainer_state": ("trainer_state.json", STATE, TrainerStateSource),
}
TRUE = [(float(s), float(s)) for s in STEPS]
# A changed byte is found by a check; text has none.
CHECKED = ("tensorboard", "wandb")


def losses(source: Source) -> list[tuple[float, float]]:
    return points(drain(source).history.train.table(), "loss")


@pytest.mark.parametrize("kind", FORMATS)
def test_cut_at_every_byte(tmp_path: Path, kind: str) -> None:
    name, whole, opened = FORMATS[kind]
    path, judge = tmp_path / name, FormatDetector()
    before = 0
    for size in range(0, len(whole) + 1, 1 if kind != "trainer_state" else 5):
        path.write_bytes(whole[:size])
        found = losses(opened(path))
        if kind == "csv" and found and found[-1] not in TRUE:
            found = found[:-1]  # a number cut short is a number still, while no newline follows
        assert found == TRUE[: len(found)]
        assert len(found) >= before, "more of the file never shows fewer rows"
        before = len(found)
        judge.kind(path)
    path.write_bytes(whole)
    assert losses(opened(path)) == TRUE
    assert judge.kind(path) == kind


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=60, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(data=st.data())
def test_changed_bytes(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    name, whole, opened = FORMATS[kind]
    at = data.draw(st.integers(0, len(whole) - 1))
    other = data.draw(st.binary(min_size=1, max_size=12))
    torn = whole[:at] + other + whole[at + data.draw(st.integers(0, 12)) :]
    path = tmp_path / name
    path.write_bytes(torn)
    source = opened(path)
    found = losses(source)
    source.facts(), source.warnings(), FormatDetector().kind(path)
    if kind == "csv":
        safe = max(0, whole[:at].count(b"\n") - 1)
        if b"\n" in other or b'"' in other or at < len("step,loss\n"):
            safe = 0  # another header, another quote: other rows, but no error
        # A changed step may be an earlier one, which goes back over true rows.
        lost = [pair for pair in TRUE[:safe] if pair not in found]
        assert len(lost) <= 1 or source.history.rewind_count
    elif kind in CHECKED:
        assert set(found) <= set(TRUE)
    elif found and len(found) == len(TRUE):
        assert sum(pair not in TRUE for pair in found) <= 2


@settings(max_examples=60, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(garbage=st.binary(max_size=400), kind=st.sampled_from(sorted(FORMATS)))
def test_garbage(tmp_path: Path, garbage: bytes, kind: str) -> None:
    name, whole, opened = FORMATS[kind]
    path = tmp_path / name
    for content in (garbage, whole[:12] + garbage, whole + garbage):
        path.write_bytes(content)
        source = opened(path)
        losses(source)
        source.facts(), source.warnings(), FormatDetector().kind(path)


@pytest.mark.parametrize("kind", FORMATS)
def test_pieces_of_any_size_give_the_same_chart(tmp_path: Path, kind: str) -> None:
    name, whole, opened = FORMATS[kind]
    path = tmp_path / name
    path.write_bytes(b"")
    source = opened(path)
    for size in range(0, len(whole) + 137, 137):
        path.write_bytes(whole[:size])
        found = losses(source)
        assert found == TRUE[: len(found)]
    assert found == TRUE
