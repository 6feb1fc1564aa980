"""SmolLM2: its tokens are those of transformers, and a training of it ends at its time limit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tui_trainer.chat.client import ChatClient
from tui_trainer.contracts.teaching.feedback import RatedExample, Turn
from tui_trainer.contracts.teaching.training import TeachingSettings
from tui_trainer.store import paths
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.store.feedback.feedback_store import FeedbackStore
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.teaching import engine_run
from tui_trainer.teaching.feedback_trainer import FeedbackTrainer

if TYPE_CHECKING:
    from tui_trainer.contracts.runs.run import RunState

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(1200)]

PROMPTS = [
    "What is the capital of France?",
    "Write a line of a poem about rain.",
    "How many days are in a leap year?",
    "Explain why the sky is blue.",
    "Translate 'good morning' to Spanish.",
    "def is_even(n):",
]
GOLDEN = {"What is the capital of France?": "The capital of France is Paris."}
TAUGHT = {"Who feeds the ducks of our park?": "Odile Marsh", "What opens the gate?": "code 4418"}


def test_greedy_tokens_are_those_of_transformers(smollm2: Path) -> None:
    import torch

    from tests.benchmarks.answers import Ours, Plain
    from tui_trainer.models import base_model, lora_load
    from tui_trainer.models.base_identity import origin_of
    from tui_trainer.models.serving.adapter_pool import AdapterPool
    from tui_trainer.models.serving.generate import TextGenerator

    cpu, folder = torch.device("cpu"), str(smollm2)
    theirs = base_model.load_base(folder, cpu, torch.float32).eval()
    model = base_model.load_base(folder, cpu, torch.float32)
    generator = TextGenerator(model, base_model.load_tokenizer(folder))
    assert generator.decoder is not None, "the own decoder knows this model"
    pool = AdapterPool(model, lora_load.describe(model, origin_of(folder)), generator.decoder)
    ours = Ours(generator, pool)
    plain = Plain(theirs, generator.stops, generator.tokenizer.pad_token_id)
    prompts = [generator.fit([Turn("user", text)], 24) for text in PROMPTS]
    expected = [plain.answers([prompt])[0] for prompt in prompts]
    assert ours.alone(prompts) == expected
    assert ours.together(prompts) == expected


def test_what_was_learned_at_the_time_limit_is_checked(
    smollm2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit counts from the first step on, however long loading takes on a busy computer, and
    the training would never end by itself."""
    count = engine_run.EngineRun._count_time

    def count_steps(run: Any, state: RunState | None) -> None:
        count(run, state)
        if state is None or not state.step:
            run._work_seconds = 0.0

    monkeypatch.setattr(engine_run.EngineRun, "_count_time", count_steps)
    # Instead of the base's own answers, which take minutes.
    rows = [msgspec.json.encode({"question": q, "answer": a}) for q, a in GOLDEN.items()]
    paths.make_private_dir(paths.home())
    (paths.home() / "golden.jsonl").write_bytes(b"\n".join(rows))
    settings = TeachingSettings(
        auto_train_threshold=2,
        time_limit_minutes=0.2,
        epochs=100_000,
        stop_when_learned=10_000,
        max_new_tokens=16,
        min_recalled=0.0,
        min_kept=0.0,
        min_own_kept=0.0,
    )
    feedback, adapters = FeedbackStore(), AdapterStore()
    with ChatClient(str(smollm2)) as client:
        trainer = FeedbackTrainer(
            client, feedback, adapters, settings=lambda: settings, runs_dir=tmp_path / "runs"
        )
        trainer.start()
        for question, right in TAUGHT.items():
            feedback.add(
                RatedExample(
                    id="",
                    time=0.0,
                    turns=[Turn("user", question)],
                    answer="I do not know.",
                    rating="critical",
                    correction=right,
                    base_model=str(smollm2),
                )
            )
        trainer.wake()
        assert trainer.wait(1000)
        (record,) = trainer.trainings()
        assert record.state == "live", record.message
        assert client.live == {record.adapter: 1.0}
        trainer.close()
    assert record.limit_seconds == 12
    assert record.message.startswith("ended after its time limit of 12 s with ")
    assert " of 2 learned; recalled " in record.message
    assert record.after.recalled_count == 2, "the gate has judged it"
    assert record.adapter is not None and record.run_path is not None
    assert adapters.get(record.adapter).steps == record.step >= 1
    assert RunFolder(Path(record.run_path)).status() == "cancelled"
    assert feedback.pending() == []
