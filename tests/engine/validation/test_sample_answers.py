"""Fixed prompts answered at each evaluation: what is written, and that training does not change."""

from __future__ import annotations

import stat
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.engine.conftest import At, lines, rollbacks
from tui_trainer.contracts.runs.samples import SampleRecord
from tui_trainer.engine.validation import sample_answers
from tui_trainer.models import greedy_answers
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.watch.runs.details.sample_answers import valid_samples

MakeRun = Callable[..., RunFolder]
Engine = Callable[..., int]
Metrics = Callable[[RunFolder], dict[tuple[str, int], dict[str, Any]]]

SAMPLES = {"prompts": ["what is 3?", "what is 5, and what is 6?"], "max_new_tokens": 6}


def text(record: SampleRecord) -> tuple[int, int, str]:
    return record.step, record.number, record.answer


def test_prompts_are_answered_before_training_and_at_each_evaluation(
    make_run: MakeRun, run_engine: Engine
) -> None:
    folder = make_run(samples=SAMPLES)
    assert run_engine(folder) == 0
    written = folder.samples()
    assert [(r.step, r.number) for r in written] == [(s, n) for s in (0, 4, 8, 12) for n in (0, 1)]
    assert [r.prompt for r in written[:2]] == SAMPLES["prompts"]
    assert all(1 <= r.tokens <= 6 for r in written)
    assert all((r.finish == "length") == (r.tokens == 6) for r in written if r.tokens < 6)
    assert list(lines(folder.samples_file)[0]) == [
        "step", "epoch", "time", "number", "prompt", "answer", "tokens", "finish",
    ]  # fmt: skip
    assert stat.S_IMODE(folder.samples_file.stat().st_mode) == 0o600


def test_answers_are_those_of_plain_transformers(
    make_run: MakeRun, run_engine: Engine, tiny_base: Any
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = make_run(samples=SAMPLES, training={"save": "last"})
    assert run_engine(folder) == 0
    tokenizer: Any = AutoTokenizer.from_pretrained(tiny_base)
    model = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(tiny_base), str(folder.adapter_dir)
    ).eval()
    for record in folder.samples()[-2:]:
        turns = [{"role": "user", "content": record.prompt}]
        ids = tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )["input_ids"]
        start = ids.shape[1]
        for _ in range(record.tokens):  # without a cache, so that only the formula counts
            with torch.no_grad():
                following = model(input_ids=ids).logits[0, -1].argmax()
            ids = torch.cat([ids, following.reshape(1, 1)], dim=1)
        answer = tokenizer.decode(ids[0, start:], skip_special_tokens=True)
        assert record.answer == answer


def test_training_is_the_same_bit_for_bit(
    make_run: MakeRun, run_engine: Engine, metrics: Metrics
) -> None:
    plain, sampled = make_run(), make_run(samples=SAMPLES)
    assert run_engine(plain) == run_engine(sampled) == 0
    assert metrics(plain) == metrics(sampled)
    weights = "adapter_model.safetensors"
    assert (plain.adapter_dir / weights).read_bytes() == (
        sampled.adapter_dir / weights
    ).read_bytes()


def test_without_validation_the_prompts_are_answered_as_often(
    make_run: MakeRun, run_engine: Engine
) -> None:
    folder = make_run(
        samples=SAMPLES, data={"val_split": None}, training={"max_steps": 6, "eval_every": 4}
    )
    assert run_engine(folder) == 0
    assert sorted({r.step for r in folder.samples()}) == [0, 4, 6]


@pytest.mark.slow
def test_a_resumed_run_has_the_same_answers(
    make_run: MakeRun, run_engine: Engine, at_step: At
) -> None:
    whole, parts = make_run(samples=SAMPLES), make_run(samples=SAMPLES)
    assert run_engine(whole) == 0
    at_step(6, "stop")
    run_engine(parts)
    assert run_engine(parts) == 0
    assert list(map(text, parts.samples())) == list(map(text, whole.samples()))


@pytest.mark.slow
def test_answers_of_undone_steps_do_not_count(
    make_run: MakeRun, run_engine: Engine, at_step: At
) -> None:
    training = {
        "max_steps": 64, "learning_rate": 2e-3, "eval_every": 8, "checkpoint_every": 20,
        "keep_checkpoints": 9,
    }  # fmt: skip
    folder = make_run(samples=SAMPLES, training=training)
    at_step(40, "set-lr", learning_rate=0.6)
    at_step(52, "rollback")
    assert run_engine(folder) == 0
    (event,) = rollbacks(folder)
    back_to = event.step
    written = folder.samples()
    assert [r.step for r in written].count(48) == 4  # before the rollback, and after
    counted = valid_samples(written, folder.events())
    assert [one.step for one in counted] == list(range(0, 65, 8))
    assert all(r.time > event.time for one in counted if one.step > back_to
               for r in one.answers.values())  # fmt: skip


def test_a_prompt_longer_than_the_context_is_named(make_run: MakeRun, run_engine: Engine) -> None:
    folder = make_run(samples={"prompts": ["short", "long " * 5000]})
    assert run_engine(folder) == 2
    state = folder.state()
    assert state is not None and state.message.startswith("samples.prompts, prompt 2: ")


def test_lack_of_memory_is_logged_and_training_continues(
    make_run: MakeRun, run_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(sample_answers, "answer_all", fail)
    folder = make_run(samples=SAMPLES)
    assert run_engine(folder) == 0
    warnings = [event.message for event in folder.events() if event.kind == "warning"]
    assert warnings[0] == (
        "out of memory: 2 sample prompts not answered; lower samples.max_new_tokens"
    )
    assert folder.samples() == []


def test_a_base_with_its_own_sampling_still_answers_greedily(
    make_run: MakeRun, run_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The base's generation defaults (here sampling) do not change the answers."""
    from transformers import GenerationConfig

    original = greedy_answers.answer_all

    def with_defaults(model: Any, *others: Any) -> Any:
        causal = model.get_base_model()
        causal.generation_config = GenerationConfig(do_sample=True, temperature=9.0, top_k=0)
        return original(model, *others)

    plain, sampling = make_run(samples=SAMPLES), make_run(samples=SAMPLES)
    assert run_engine(plain) == 0
    monkeypatch.setattr(sample_answers, "answer_all", with_defaults)
    assert run_engine(sampling) == 0
    assert list(map(text, plain.samples())) == list(map(text, sampling.samples()))
