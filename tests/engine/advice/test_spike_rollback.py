"""Loss spikes: ignored where they pass, rolled back where they last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from safetensors.torch import load_file
from transformers import AutoTokenizer

from tests.bases import save_model
from tests.engine.conftest import At, rollbacks, rows_that_stand
from tui_trainer.advisor.event_history import read_events
from tui_trainer.cli import main as cli
from tui_trainer.contracts.advice import Advice, AdvisorSettings, Evidence
from tui_trainer.contracts.schedule import learning_rate_at
from tui_trainer.engine.advice import observe, request_rollback, spike_rollback
from tui_trainer.engine.data.batching import BatchPlan
from tui_trainer.engine.state.session import TrainerState
from tui_trainer.store.runs.run_folder import RunFolder

MakeRun = Callable[..., RunFolder]
Engine = Callable[..., int]
Capture = pytest.CaptureFixture[str]

ROWS = [{"question": f"what is {i}?", "answer": "the cat sat on the mat"} for i in range(20)]
TRAINING: dict[str, Any] = {
    "max_steps": 80,
    "batch_size": 8,
    "learning_rate": 2e-2,
    "scheduler": "linear",
    "eval_every": 0,
    "checkpoint_every": 20,
    "keep_checkpoints": 9,
}
# The rows of these steps are bad ones.
FIRST, LAST = 54, 59
ON: dict[str, Any] = {"spike_rollback": True}


@pytest.fixture
def sharp(make_run: MakeRun, tiny_base: Path, tmp_path: Path) -> MakeRun:
    """Makes runs of a base that is sure enough of its tokens to learn a few answers by heart,
    so that others are far off."""
    folder = tmp_path / "sharp"
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    tokenizer.save_pretrained(str(folder))
    save_model("llama", folder, tokenizer, seed=1, initializer_range=0.25)

    def make(training: dict[str, Any] | None = None, **advisor: Any) -> RunFolder:
        values = {**TRAINING, **(training or {})}
        return make_run(ROWS, model=str(folder), training=values, advisor=advisor)

    return make


@pytest.fixture
def bad_rows(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Damage the examples of some steps: every token is replaced by another."""
    original = BatchPlan.examples

    def spoil(first: int = FIRST, last: int = LAST) -> None:
        def examples(self: BatchPlan, step: int) -> Any:
            found = original(self, step)
            if not first <= step + 1 <= last:
                return found
            wrong = [[(7 * token + 11) % 200 for token in e.input_ids] for e in found]
            return [replace(e, input_ids=ids) for e, ids in zip(found, wrong, strict=True)]

        monkeypatch.setattr(BatchPlan, "examples", examples)

    return spoil


def kept_high(folder: RunFolder) -> list[str]:
    """The warnings of a run about a spike without a rollback."""
    warnings = [event.message for event in folder.events() if event.kind == "warning"]
    return [text for text in warnings if text.startswith("the loss stays high")]


def same_bits(one: RunFolder, other: RunFolder) -> bool:
    ours, theirs = (load_file(f.adapter_dir / "adapter_model.safetensors") for f in (one, other))
    assert rows_that_stand(one) == rows_that_stand(other)
    return all(bool((ours[name] == theirs[name]).all()) for name in theirs)


def replayed(folder: RunFolder, capsys: Capture) -> list[Advice]:
    """The advice that `runs advise` gives for the run."""
    capsys.readouterr()
    assert cli.main(["runs", "advise", str(folder.metrics_file), "--history", "--json"]) == 0
    return msgspec.json.decode(capsys.readouterr().out, type=list[Advice])


@pytest.mark.slow
def test_from_a_spike_that_stays_it_goes_back_and_passes_it_with_a_lower_rate(
    sharp: MakeRun, run_engine: Engine, bad_rows: Callable[[], None], capsys: Capture
) -> None:
    bad_rows()
    alone, folder = sharp(), sharp(**ON)
    assert run_engine(alone) == 0
    assert run_engine(folder) == 0
    assert not rollbacks(alone) and not kept_high(alone)
    left, again = rollbacks(folder)
    reported_at = FIRST + spike_rollback.ROWS
    assert (left.step, left.detail["from_step"], left.detail["by"]) == (40, reported_at, "auto")
    assert left.message == (
        f"loss spike at step {FIRST}: rolled back from step {reported_at} to step 40, "
        f"learning rate x0.5 from there to step {reported_at + request_rollback.SPIKE_PAST}, "
        "then as scheduled"
    )
    assert again.detail["advice"]["kind"] == "loss_spike"
    assert kept_high(folder) == [
        f"the loss stays high after the spike at step {FIRST}, but 2 rollbacks did not "
        "help: look at the data there"
    ]
    planned, taken = rows_that_stand(alone), rows_that_stand(folder)
    share = {step: taken[step][1] / planned[step][1] for step in taken}
    assert share[40] == 1
    assert share[41] == pytest.approx(0.25) == share[reported_at + request_rollback.SPIKE_PAST]
    assert 0.25 < share[reported_at + request_rollback.SPIKE_PAST + 4] < share[80] < 1
    assert taken[LAST + 1][0] < planned[LAST + 1][0] - 0.02, "the bad rows did less harm"
    assert list(read_events(folder.events()).reports) == replayed(folder, capsys)


@pytest.mark.slow
def test_killed_before_and_after_it_goes_back_it_ends_with_the_same_bits(
    sharp: MakeRun, run_engine: Engine, bad_rows: Callable[[], None], at_step: At
) -> None:
    bad_rows()
    often = {"checkpoint_every": 8, "keep_checkpoints": 1, "max_steps": 64}
    whole, folder = (sharp(often, **ON, max_changes=1) for _ in range(2))
    assert run_engine(whole) == 0
    at_step(FIRST + 3, "cancel")  # the newest checkpoint is from amid the spike
    assert run_engine(folder) == 130
    at_step(62, "cancel")
    assert run_engine(folder) == 130
    (event,) = rollbacks(folder)
    assert (event.step, event.detail["from_step"]) == (48, FIRST + spike_rollback.ROWS)
    assert run_engine(folder) == 0
    assert len(rollbacks(folder)) == len(rollbacks(whole)) == 1, "no more than max_changes"
    assert same_bits(folder, whole)


def test_a_lone_spike_is_left_alone(
    sharp: MakeRun, run_engine: Engine, bad_rows: Callable[[int, int], None]
) -> None:
    bad_rows(FIRST, FIRST)
    folder = sharp({"max_steps": 64}, **ON)
    assert run_engine(folder) == 0
    assert "loss_spike" in {advice.kind for advice in read_events(folder.events()).reports}
    assert not rollbacks(folder) and not kept_high(folder)


@pytest.mark.slow
def test_a_raised_rate_that_made_it_spike_is_left_behind(
    sharp: MakeRun, run_engine: Engine, at_step: At
) -> None:
    """Then the rate was not too high before, and the run is the one that it would have been. The
    step that spoilt the weights had a good loss itself: what was saved after it is none to go
    back to."""
    short = {"max_steps": 64}
    good, folder = sharp(short), sharp(short, **ON)
    assert run_engine(good) == 0
    # So high that the loss stays far above, whatever the order of sums.
    at_step(50, "set-lr", learning_rate=10.0)
    at_step(51, "checkpoint")
    assert run_engine(folder) == 0
    (event,) = rollbacks(folder)
    assert (event.step, event.detail["factor"]) == (40, 1.0)
    assert same_bits(folder, good)


@pytest.mark.slow
def test_a_user_requests_a_rollback_after_a_spike(
    sharp: MakeRun, run_engine: Engine, at_step: At, bad_rows: Callable[[int, int], None]
) -> None:
    """Also from a lone one, and with nothing set; a kill after it changes nothing."""
    bad_rows(FIRST, FIRST)
    folder = sharp({"max_steps": 64})
    at_step(45, "rollback")
    at_step(FIRST, "rollback", advice="loss_spike-1")
    at_step(FIRST + 2, "cancel")
    assert run_engine(folder) == 130
    assert run_engine(folder) == 0
    refused, asked = (e for e in folder.events() if e.detail.get("command") == "rollback")
    assert (refused.detail["accepted"], refused.message) == (
        False,
        "no open advice to roll back for",
    )
    assert asked.detail["accepted"] is True
    assert asked.message == (
        "rolling back to step-00000040, then training with a lower learning rate up to step 62"
    )
    (event,) = rollbacks(folder)
    assert (event.step, event.detail["by"]) == (40, "user")
    info = folder.info()
    assert info is not None
    planned = {s: learning_rate_at(s - 1, info.job.training, 64) for s in range(1, 65)}
    share = {s: rate / planned[s] for s, (_, rate) in rows_that_stand(folder).items()}
    assert [share[s] for s in range(38, 41)] == pytest.approx([1.0] * 3)
    assert [share[s] for s in range(41, 63)] == pytest.approx([0.5] * 22)
    assert 0.5 < share[63] < share[64] < 1, "and rises again"


# -- what is decided on ------------------------------------------------------------------------


def spike(good: int | None = 99, rate: float = 1e-3) -> Advice:
    """Raised at step 100, where the loss went from 1 to 3."""
    return Advice(
        id="loss_spike-1", kind="loss_spike", urgency="low", status="raised", step=100,
        updated_step=100, learning_rate=rate, suggested_lr=None, factor=None, reason="",
        evidence=Evidence(metric="loss", first_step=92, last_step=100, value=3.0, level=1.0),
        confidence=0.6, good_step=good,
    )  # fmt: skip


def session_at(folder: RunFolder, losses: list[float], **settings: Any) -> Any:
    """A session with what the decision depends on: the losses from step 100 on."""
    messages: list[str] = []
    return SimpleNamespace(
        folder=folder,
        open_advice=[spike()],
        advisor_settings=AdvisorSettings(**ON, **settings),
        state=TrainerState(step=99 + len(losses), recent=[1.0] * 10 + losses),
        writer=SimpleNamespace(wait=lambda: None),
        report=SimpleNamespace(event=lambda kind, step, text, detail: messages.append(text)),
        messages=messages,
        pending_rollback=None,
    )


@pytest.mark.parametrize(
    ("losses", "stays"),
    [
        ([3.0, 2.9, 2.9, 2.8], False),  # so far
        ([3.0, 2.9, 2.9, 2.8, 2.1], True),
        ([3.0, 2.9, 2.9, 2.8, 1.9], False),  # on the way back
        ([3.0, 1.1, 2.9, 2.9, 2.9], False),
        ([3.0, 1.1, 1.1, 2.9, 2.9, 2.9, 2.9], True),  # another one, that stays
        ([9.0, 1.9, 1.9, 1.9, 1.9], False),
    ],
)
def test_a_spike_stays_where_no_row_comes_back(
    tmp_path: Path, losses: list[float], stays: bool
) -> None:
    session = session_at(RunFolder(tmp_path), losses)
    assert (spike_rollback.lasting(session) is not None) is stays


def test_the_checkpoint_before_a_spike_is_kept_while_it_stands(tmp_path: Path) -> None:
    assert observe.good_steps(session_at(RunFolder(tmp_path), [3.0])) == (99,)


@pytest.mark.parametrize(
    ("settings", "messages"),
    [
        ({}, "there is no checkpoint from before step 100"),
        (
            {"min_learning_rate": 1e-3},
            "the advisor's bounds forbid changing the learning rate 1e-3 to 0.5 times that",
        ),
        ({"max_changes": 0}, None),
    ],
)
def test_the_reason_against_a_rollback_is_logged_once(
    tmp_path: Path, settings: dict[str, Any], messages: str | None
) -> None:
    session = session_at(RunFolder(tmp_path), [3.0, 2.9, 2.9, 2.9, 2.9], **settings)
    spike_rollback.act(session)
    spike_rollback.act(session)
    text = f"the loss stays high after the spike at step 100, but {messages}"
    assert session.messages == ([] if messages is None else [text])
    assert session.pending_rollback is None and session.state.changes == 0
