"""Rows rewritten by a local model: off by default, counted, stored, never in validation."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tui_trainer.contracts.errors import UserError
from tui_trainer.engine import setup
from tui_trainer.engine.data import augment
from tui_trainer.engine.data.augment import Augmenter, Rewrites
from tui_trainer.engine.data.rows import Message, Row
from tui_trainer.store import job_checks, jobs, paths
from tui_trainer.store.runs.run_folder import RunFolder

MakeRun = Callable[..., RunFolder]
RunEngine = Callable[..., int]
TRAINING = {"max_steps": 4, "eval_every": 0, "checkpoint_every": 2}


def fake_answers(prompts: list[str]) -> list[str]:
    """Answers of a model that puts "in other words" before a text; the first three are unusable."""
    texts = [prompt.rpartition("\n\n")[2] for prompt in prompts]
    bad = {0: "", 1: texts[1].upper(), 2: "so " * 500}
    return [bad.get(at, f"in other words, {text}") for at, text in enumerate(texts)]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The prompts of every request to a fake model."""
    requested: list[list[str]] = []

    def make_rewriter(*_: Any) -> Callable[[str, list[str]], list[str] | None]:
        def rewrite(model: str, prompts: list[str]) -> list[str] | None:
            requested.append(prompts)
            return fake_answers(prompts)

        return rewrite

    monkeypatch.setattr(setup, "make_rewriter", make_rewriter)
    return requested


@pytest.mark.slow
def test_versions_are_counted_stored_and_the_same_on_resume(
    make_run: MakeRun, run_engine: RunEngine, asked: list[list[str]]
) -> None:
    plain = make_run(training=TRAINING)
    assert run_engine(plain) == 0
    assert asked == [] and not plain.augmented_file.exists()
    report = plain.data()
    assert report is not None and report.augmented is None and report.train.examples == 16

    folder = make_run(training=TRAINING, data={"augment": "paraphrase"})
    assert run_engine(folder) == 0
    report = folder.data()
    assert report is not None and report.augmented is not None
    made = report.augmented
    assert (made.asked, made.added, made.cached) == (16, 13, False)
    assert report.train.examples == 16 + 13 and report.validation.examples == 4
    found = msgspec.json.decode(folder.augmented_file.read_bytes(), type=Rewrites)
    assert [version.used for version in found.versions] == [False] * 3 + [True] * 13
    assert found.versions[5].row.startswith("train.jsonl line ")
    assert found.versions[5].after == f"in other words, {found.versions[5].before}"
    warnings = [event.message for event in folder.events() if event.kind == "warning"]
    assert any("may take longer than the training" in text for text in warnings)
    assert any("13 training rows added, written by" in text for text in warnings)
    (prompts,) = asked
    assert prompts[0].startswith("Say this in other words")

    shutil.rmtree(paths.cache_dir())
    assert run_engine(folder, "--from", "step-00000002") == 0, "from the run folder"
    again = make_run(training=TRAINING, data={"augment": "paraphrase"})
    assert run_engine(again) == 0 and len(asked) == 2
    third = make_run(training=TRAINING, data={"augment": "paraphrase"})
    assert run_engine(third) == 0 and len(asked) == 2, "from the cache"
    data = third.data()
    assert data is not None and data.augmented is not None and data.augmented.cached
    assert data.fingerprint == report.fingerprint


def augmenter(
    tmp_path: Path, rewrite: Callable[[str, list[str]], list[str] | None], **data: Any
) -> Augmenter:
    (tmp_path / "t.jsonl").write_text('{"text": "a"}\n')
    values = {"data": {"train": "t.jsonl", "cache": False, **data}}
    job = jobs.check_job(values, tmp_path, "test")

    def raise_stopped() -> None:
        raise UserError("stopped by the user")

    return Augmenter(job, tmp_path / "augmented.json", rewrite, raise_stopped)


TALK = Row(
    (
        Message("user", "one?"),
        Message("assistant", "first"),
        Message("user", "two?"),
        Message("assistant", "second"),
    ),
    None,
    3.0,
    "t line 1",
)
LABELLED = Row((), "the cat", 2.0, "t line 2", "animal")


def test_only_the_last_question_or_the_text_is_rewritten(tmp_path: Path) -> None:
    make = augmenter(tmp_path, lambda _, p: ["new words"] * len(p), augment="synonym")
    (talk, labelled), report = make([TALK, LABELLED], [])
    assert [turn.content for turn in talk.messages] == ["one?", "first", "new words", "second"]
    assert talk.messages[:2] == TALK.messages[:2] and talk.weight == 3.0
    assert (labelled.text, labelled.label, labelled.weight) == ("new words", "animal", 2.0)
    assert labelled.where == "t line 2, rewritten" and report.method == "synonym"


def test_a_version_equal_to_a_held_out_row_is_rejected(tmp_path: Path) -> None:
    held = Row((), "The  DOG", 1.0, "v line 1", "animal")
    make = augmenter(tmp_path, lambda _, p: ["the dog"] * len(p), augment="paraphrase")
    added, report = make([LABELLED], [held])
    assert added == [] and (report.asked, report.added) == (1, 0)


@pytest.mark.parametrize(
    ("before", "after", "used"),
    [
        ("He has 12 eggs and eats 3.", "Of 12 eggs he eats 3.", True),
        ("He has 12 eggs and eats 3.", "Of 12 eggs he eats 4.", False),
        ("He has 12 eggs and eats 3.", "He has eggs and eats some.", False),
        ("Who was it?", "Who?", True),
        ("Who kept the lighthouse in those years?", "Who?", False),
        ("Who was it?", " \n", False),
    ],
)
def test_a_version_that_cannot_mean_the_same_is_rejected(
    before: str, after: str, used: bool, tmp_path: Path
) -> None:
    make = augmenter(tmp_path, lambda *_: [after], augment="paraphrase")
    assert bool(make([Row((), before, 1.0, "t line 1")], [])[0]) == used


def test_back_translation_translates_into_the_pivot_language_and_back(tmp_path: Path) -> None:
    requested: list[str] = []

    def rewrite(_: str, prompts: list[str]) -> list[str]:
        requested.extend(prompts)
        return ["le chat" if "into French" in p else "that cat" for p in prompts]

    (row,), _ = augmenter(tmp_path, rewrite, augment="back-translation")([LABELLED], [])
    assert row.text == "that cat"
    assert "into French" in requested[0] and requested[0].endswith("\n\nthe cat")
    assert "into English" in requested[1] and requested[1].endswith("\n\nle chat")


def test_a_stop_command_ends_the_rewriting(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="stopped by the user"):
        augmenter(tmp_path, lambda *_: None, augment="paraphrase")([LABELLED], [])


@pytest.mark.slow
def test_a_real_model_answers_prompts_that_fit(tiny_base: Path) -> None:
    import torch

    requested: list[tuple[int, int]] = []

    def on_progress(done: int, total: int) -> bool:
        requested.append((done, total))
        return False

    rewrite = augment.make_rewriter(torch.device("cpu"), torch.float32, False, on_progress)
    long = "x" * 2000  # more than the base reads
    made = rewrite(str(tiny_base), ["Say this in other words.\n\nthe cat", long])
    assert made is not None and len(made) == 2 and made[1] == ""
    assert requested[-1] == (1, 1)
    assert made == rewrite(str(tiny_base), ["Say this in other words.\n\nthe cat", long])


def test_the_job_check_warns_of_the_cost_of_rewriting(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,label\na,x\nb,y\n")
    values: dict[str, Any] = {
        "task": "classification",
        "data": {"train": "t.csv", "augment": "synonym"},
    }
    found = {item.key: item for item in job_checks.check(jobs.check_job(values, tmp_path, "test"))}
    assert found["data.augment_model"].level == "error"
    values["data"]["augment_model"] = "builtin"
    found = {item.key: item for item in job_checks.check(jobs.check_job(values, tmp_path, "test"))}
    assert "which the built-in base cannot" in found["data.augment_model"].message
    values["data"]["augment_model"] = "owner/name"
    found = {item.key: item for item in job_checks.check(jobs.check_job(values, tmp_path, "test"))}
    assert "makes owner/name rewrite 2 training rows" in found["data.augment"].message
    values["data"]["augment_model"] = "./not-here"
    with pytest.raises(UserError, match="augment_model: model folder"):
        jobs.check_job(values, tmp_path, "test")
