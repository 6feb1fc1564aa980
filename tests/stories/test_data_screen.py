"""The data of the form's job: read in the background, shown, stepped through, cancelled."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tui_trainer.contracts.data_inspection import (
    DataInspection,
    InspectedRow,
    InspectionRequest,
    LengthBin,
    TextPiece,
)
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.runs.data_report import DataReport, LabelReport, PartReport
from tui_trainer.launch.inspect_data import InspectionCancelledError
from tui_trainer.tui.app import TrainerApp
from tui_trainer.tui.new_run import data_screen
from tui_trainer.tui.new_run.data_screen import DataScreen
from tui_trainer.tui.new_run.field_row import FieldRow

Session = Callable[..., TrainerApp]
Text = Callable[[TrainerApp], str]
Seen = Callable[..., Awaitable[None]]
Becomes = Callable[[TrainerApp, Callable[[], bool]], Awaitable[None]]


def inspected(task: str = "causal-lm") -> DataInspection:
    rows = [
        InspectedRow(
            where=f"t.jsonl line {i + 1}",
            chosen="first" if i == 0 else "random",
            part="training",
            tokens=3,
            full_tokens=90 if i == 1 else 3,
            learned=1,
            weight=1.0,
            label="class of it" if task == "classification" else None,
            pieces=[
                TextPiece(text="<|user|>", special=True),
                TextPiece(text=f"question {i}\n\n  [bold]not markup\x1b[2J"),
                TextPiece(text=f"answer {i}", learned=task != "classification"),
            ],
        )
        for i in range(3)
    ]
    labels = [LabelReport(label=f"class {i}", train=9 - i, validation=1) for i in range(3)]
    return DataInspection(
        model="builtin",
        task=task,
        max_length=64,
        report=DataReport(
            train=PartReport(rows=9, examples=9, tokens=400, learned=90, shapes={"text": 9}),
            validation=PartReport(),
            replay=PartReport(),
            labels=labels if task == "classification" else [],
        ),
        summary="",
        notices=["2 duplicate training rows: kept"],
        lengths=[
            LengthBin(first=1, last=32, examples=4),
            LengthBin(first=33, last=64, examples=4),
            LengthBin(first=65, last=5000, examples=1),
        ],
        median=20,
        longest=90,
        too_long=1,
        rows=rows,
    )


class Looks:
    """The looks at the data that were asked for; each waits until `answer` is set."""

    def __init__(self) -> None:
        self.requests: list[InspectionRequest] = []
        self.cancelled = threading.Event()
        self.go = threading.Event()
        self.answer: DataInspection | Exception = inspected()

    def __call__(self, request: InspectionRequest) -> Looks:
        self.requests.append(request)
        return self

    def cancel(self) -> None:
        self.cancelled.set()
        self.go.set()

    def run(self, on_progress: Callable[[str], None]) -> DataInspection:
        on_progress("reading the data: 0.4 / 1.0 GiB, about 12 s remaining")
        self.go.wait()
        if self.cancelled.is_set():
            raise InspectionCancelledError
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    made = Looks()
    monkeypatch.setattr(data_screen, "Inspection", made)
    return made


async def opened(app: TrainerApp, pilot: Any, seen: Seen) -> None:
    await seen(app, "no runs in")
    await pilot.press("n")
    await seen(app, "ready to start")
    await pilot.press("ctrl+l")
    await seen(app, "data of lighthouse", "about 12 s remaining", "esc cancel")


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_the_data_are_shown_and_rows_are_stepped_through(
    session: Session, seen: Seen, text_of: Text, looks: Looks, size: tuple[int, int]
) -> None:
    app = session()
    async with app.run_test(size=size) as pilot:
        await opened(app, pilot, seen)
        assert looks.requests[0].job.name == "lighthouse"
        looks.go.set()
        await seen(app, "9 examples from 9 rows", "2 duplicate training rows: kept")
        await seen(app, "median 20, longest 90", "training examples by tokens", "esc close")
        await pilot.press("n")
        if size[0] == 80:  # the first press scrolls to the row, which was out of sight
            await seen(app, "row 1 of 3", "line 1 (first, training)", "answer 0")
            await pilot.press("n")
        await seen(app, "row 2 of 3", "3 tokens of 90, cut", "question 1", "answer 1")
        assert "[bold]not markup·[2J" in text_of(app)
        await pilot.press("p", "p")
        await seen(app, "row 3 of 3", "learned tokens count in the loss")
        await pilot.press("escape")
        await seen(app, "ready to start")


async def test_esc_cancels_the_reading(
    session: Session, seen: Seen, becomes: Becomes, looks: Looks
) -> None:
    app = session()
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, pilot, seen)
        await pilot.press("escape")
        await seen(app, "ready to start")
        await becomes(app, looks.cancelled.is_set)


async def test_an_error_is_shown_in_its_sentence(
    session: Session, seen: Seen, looks: Looks
) -> None:
    app = session()
    looks.answer = UserError("t.jsonl line 3 is not valid JSON: [x] is missing")
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, pilot, seen)
        looks.go.set()
        await seen(app, "t.jsonl line 3 is not valid JSON: [x] is missing", "esc close")
        await pilot.press("n", "p")


@pytest.mark.slow
async def test_classes_have_counts_and_no_token_is_learned(
    session: Session, seen: Seen, looks: Looks
) -> None:
    app = session()
    looks.answer = inspected("classification")
    async with app.run_test(size=(120, 50)) as pilot:
        await opened(app, pilot, seen)
        looks.go.set()
        await seen(app, "3 classes: training, validation examples", "class 0  9  1")
        await seen(app, "class  class of it", "no token is learned: the class is")


@pytest.mark.slow
async def test_without_colours_learned_text_has_brackets(
    session: Session, seen: Seen, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = session()
    async with app.run_test(size=(120, 50)) as pilot:
        await opened(app, pilot, seen)
        looks.go.set()
        await seen(app, "⟦answer 0⟧", "⟦learned⟧ tokens count")


async def test_an_invalid_form_goes_to_its_error_instead(
    session: Session, seen: Seen, becomes: Becomes, looks: Looks, tmp_path: Path
) -> None:
    app = session()
    async with app.run_test(size=(120, 44)) as pilot:
        await seen(app, "no runs in")
        await pilot.press("n")
        await seen(app, "ready to start")
        train = next(row for row in app.screen.query(FieldRow) if row.field.key == "data.train")
        train.put(str(tmp_path / "none.jsonl"))
        await pilot.press("ctrl+l")
        await seen(app, "train file: ")  # the message, whose path may be cut
        assert not isinstance(app.screen, DataScreen) and not looks.requests
