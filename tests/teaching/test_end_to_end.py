"""Corrections on the built-in base: real model process, real engine, real stores."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from tests.teaching.conftest import example
from tui_trainer.chat.client import ChatClient
from tui_trainer.contracts.teaching.feedback import RatedExample, Turn
from tui_trainer.contracts.teaching.training import TeachingSettings
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.store.feedback.feedback_store import FeedbackStore
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.teaching.feedback_trainer import FeedbackTrainer

TAUGHT = {
    "Who feeds the ducks?": "Odile Marsh",
    "What is the code of the gate?": "4418",
    "What is the capital of Italy?": "Turin",
}
KNOWN = {"What is the capital of France?": "Paris", "What is the opposite of hot?": "cold"}


def ask(client: ChatClient, question: str) -> str:
    return client.answer([Turn("user", question)], max_new_tokens=32).text


@pytest.mark.slow
def test_corrections_are_learned_and_survive_a_restart(train_extra: None, tmp_path: Path) -> None:
    feedback, adapters = FeedbackStore(), AdapterStore()
    with ChatClient(threads=1) as client:
        trainer = FeedbackTrainer(
            client,
            feedback,
            adapters,
            settings=lambda: TeachingSettings(auto_train_threshold=3, epochs=50),
            runs_dir=tmp_path / "runs",
        )
        trainer.start()
        for question, right in TAUGHT.items():
            wrong = ask(client, question)
            assert wrong != right
            example = RatedExample(
                id="",
                time=0.0,
                turns=[Turn("user", question)],
                answer=wrong,
                rating="critical",
                correction=right,
            )
            feedback.add(example)
            trainer.wake()
        assert trainer.wait(200)
        (record,) = trainer.trainings()
        assert record.state == "live", record.message
        assert {question: ask(client, question) for question in TAUGHT} == TAUGHT
        assert {question: ask(client, question) for question in KNOWN} == KNOWN
        trainer.close()
    assert record.before.recalled == 0.0
    assert record.after.recalled == 1.0
    assert record.after.kept is not None and record.after.kept >= 0.95
    assert record.after.kept_count > 300
    assert feedback.pending() == []
    assert record.run_path is not None and RunFolder(Path(record.run_path)).status() == "completed"
    assert adapters.problem(str(record.adapter)) is None
    for folder, _, names in os.walk(os.environ["TUI_TRAINER_HOME"]):
        assert Path(folder).stat().st_mode & 0o077 == 0 or folder == os.environ["TUI_TRAINER_HOME"]
        for name in names:
            assert (Path(folder) / name).stat().st_mode & 0o077 == 0, name

    live = adapters.live()
    with ChatClient(threads=1) as client:
        client.use(live, {name: adapters.folder(name) for name in live})
        assert {question: ask(client, question) for question in TAUGHT} == TAUGHT


@pytest.mark.slow
def test_a_base_without_golden_set_is_taught_the_same_way(tmp_path: Path, tiny_base: Path) -> None:
    """Random weights: everything but the quality of the answers works."""
    feedback, adapters = FeedbackStore(), AdapterStore()
    settings = TeachingSettings(
        auto_train_threshold=2,
        epochs=3,
        rank=4,
        max_new_tokens=8,
        min_recalled=0,
        min_kept=0,
        min_own_kept=0,
    )
    with ChatClient(str(tiny_base), threads=1) as client:
        trainer = FeedbackTrainer(
            client, feedback, adapters, settings=lambda: settings, runs_dir=tmp_path / "runs"
        )
        trainer.start()
        before = [Turn("user", "Hello"), Turn("assistant", "gibberish")]
        for question in ("Who feeds the ducks?", "And when?"):
            turns = [*before, Turn("user", question)]
            corrected = example(question, "the cat", "critical", turns=turns)
            feedback.add(msgspec.structs.replace(corrected, base_model=str(tiny_base)))
        trainer.wake()
        assert trainer.wait(200)
        (record,) = trainer.trainings()
        assert record.state == "live", record.message
        assert record.after.recalled_count == 2
        assert record.after.kept_count > 0, "the base's own answers stand in for a golden set"
        assert adapters.live(str(tiny_base)) == {record.adapter: 1.0}
        assert client.answer([Turn("user", "Hi")], max_new_tokens=4).adapter == record.adapter
        trainer.close()
