"""SIGKILL at random moments of rating, training, saving and swapping."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tui_trainer.contracts.teaching.training import OPEN_STATES
from tui_trainer.store import paths
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.store.feedback.feedback_store import FeedbackStore
from tui_trainer.store.runs import run_folder
from tui_trainer.teaching.training_queue import TrainingQueue

LIVES = 20
SESSION = Path(__file__).with_name("kill_me.py")


class Lives:
    """Sessions on one home folder, killed one after the other."""

    def __init__(self, kind: str, *, longest: float, checking: float, per_life: int) -> None:
        """`longest` is about what a training takes, `checking` its last part, in seconds."""
        self.kind, self.longest, self.checking = kind, longest, checking
        self.per_life, self.deaths = per_life, 0
        self.generator = random.Random(7)
        self.acknowledged: set[str] = set()
        self.rated = 0

    def live(self, *, kill: bool) -> str:
        """One session; gives its last word."""
        count = self.per_life if kill else 0
        process = subprocess.Popen(
            [sys.executable, "-P", str(SESSION), str(count), str(self.rated), self.kind],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"FAKE_SECONDS": "0.3"},
        )
        try:
            if kill:
                self._wait_for_a_moment(process)
                process.kill()
            output, errors = process.communicate(timeout=240)
        finally:
            process.kill()
            process.wait()
        lines = output.splitlines()
        for line in lines:
            parts = line.split()
            if len(parts) == 2:
                self.acknowledged.add(parts[0])
        self.rated += count
        assert kill or lines[-1] == "idle", errors
        return lines[-1] if lines else ""

    def _wait_for_a_moment(self, process: subprocess.Popen[str]) -> None:
        """Any moment, or every other time one while an adapter is checked, saved or swapped."""
        self.deaths += 1
        if self.deaths % 2:
            time.sleep(0.4 + self.generator.random() * self.longest)
            return
        journal = TrainingQueue(paths.home() / "teaching")
        before = _size(journal.file)
        deadline = time.monotonic() + 5 * self.longest
        while time.monotonic() < deadline and process.poll() is None:
            states = [entry.record.state for entry in journal.entries()]
            if _size(journal.file) > before and "checking" in states:
                time.sleep(self.generator.random() * self.checking)
                return
            time.sleep(0.002)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def check(lives: Lives, *, at_rest: bool) -> None:
    """What must hold after every death, and what at rest."""
    feedback, adapters = FeedbackStore(), AdapterStore()
    examples = {example.id: example for example in feedback.examples()}
    assert lives.acknowledged <= examples.keys(), "acknowledged feedback was lost"
    infos = [item.info for item in adapters.list()]
    learned = [name for info in infos for name in info.examples]
    assert len(learned) == len(set(learned)), "an example was trained twice"
    for info in infos:
        assert adapters.problem(info.name) is None
    known = {info.name for info in infos}
    assert adapters.live().keys() <= known
    assert {e.trained_in for e in examples.values()} <= known | {None}
    for example in examples.values():
        assert example.trained_in is None or example.id in learned
    if at_rest:
        records = [entry.record for entry in TrainingQueue(paths.home() / "teaching").entries()]
        assert not [record for record in records if record.state in OPEN_STATES]
        assert not [example for example in examples.values() if example.pending]
        assert sorted(learned) == sorted(examples)
        assert len(adapters.live()) == 1
        for folder in run_folder.list_runs(paths.home() / "runs"):
            assert folder.status() in ("completed", "failed", "cancelled")


@pytest.mark.slow
def test_twenty_deaths_lose_nothing_and_teach_nothing_twice(train_extra: None) -> None:
    paths.make_private_dir(paths.home())
    lives = Lives("fake", longest=0.9, checking=0.15, per_life=4)
    for _ in range(LIVES):
        lives.live(kill=True)
        check(lives, at_rest=False)
    lives.live(kill=False)
    check(lives, at_rest=True)
    assert len(lives.acknowledged) > LIVES


@pytest.mark.slow
def test_twenty_deaths_with_the_real_model_and_engine(train_extra: None) -> None:
    paths.make_private_dir(paths.home())
    lives = Lives("builtin", longest=9.0, checking=2.0, per_life=3)
    for _ in range(LIVES):
        lives.live(kill=True)
        check(lives, at_rest=False)
    lives.live(kill=False)
    check(lives, at_rest=True)
    assert len(lives.acknowledged) > LIVES
