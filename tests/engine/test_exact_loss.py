"""The fast forward modes give the loss and gradients of Hugging Face."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tui_trainer.contracts.job import LoraSettings, TrainingSettings
from tui_trainer.engine.data import batching
from tui_trainer.engine.data.example import Example
from tui_trainer.engine.loss import ForwardMode, choose_forward_mode, weighted_sum
from tui_trainer.models import lora_train
from tui_trainer.models.base_model import load_base
from tui_trainer.models.kernels import packed_attention

CPU = torch.device("cpu")
LORA = LoraSettings(rank=4, alpha=8, dropout=0.0)


@pytest.fixture
def examples() -> list[Example]:
    """Examples of different lengths, some of the same, with different learned tokens."""
    chance = torch.Generator().manual_seed(3)
    made = []
    for length, learned in ((23, 9), (4, 1), (11, 11), (11, 3), (40, 20)):
        ids = torch.randint(5, 250, (length,), generator=chance).tolist()
        made.append(Example(ids, [0] * (length - learned) + [1] * learned, 1.0))
    made[0].learned[2:4] = [1, 1]  # a second turn
    return made


def attach(causal: Any) -> Any:
    """An adapter that already changes something."""
    torch.manual_seed(7)
    model = lora_train.attach(causal, LORA)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return model.train()


def gradients(model: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    return {name: p.grad.clone() for name, p in lora_train.trainable(model).items()}  # type: ignore[union-attr]


def theirs(model: Any, examples: list[Example]) -> torch.Tensor:
    """Hugging Face's loss of a padded batch: labels, attention mask, mean over the batch."""
    longest = max(len(e.input_ids) for e in examples)
    ids = torch.zeros(len(examples), longest, dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for i, e in enumerate(examples):
        n = len(e.input_ids)
        ids[i, :n], mask[i, :n] = torch.tensor(e.input_ids), 1
        labels[i, :n] = torch.where(torch.tensor(e.learned) == 1, ids[i, :n], -100)
    count = (labels[:, 1:] != -100).sum()
    loss: torch.Tensor = model(
        input_ids=ids, attention_mask=mask, labels=labels, num_items_in_batch=count
    ).loss
    return loss


def ours(
    model: Any, examples: Sequence[Example], way: ForwardMode, size: int, pad: int = 0
) -> torch.Tensor:
    """The engine's loss, in passes of `size` examples of like length."""
    total = torch.zeros(())
    for group in batching.groups_of(batching.longest_first(examples), size):
        batch = batching.collate(group, pad, CPU, packed=way.packed)
        total = total + weighted_sum(model, batch, way)[0]
    return total / batching.learned_weight(examples)


def check(causal: Any, examples: list[Example], expected: ForwardMode) -> None:
    model = attach(causal)
    loss = theirs(model, examples)
    wanted = gradients(model, loss)
    way = choose_forward_mode(model.get_base_model())
    assert (way.packed, way.learned_logits_only) == (
        expected.packed,
        expected.learned_logits_only,
    ), way
    for size in (5, 2):
        own = ours(model, examples, way, size)
        assert own.item() == pytest.approx(loss.item(), abs=2e-6)
        for name, gradient in gradients(model, own).items():
            assert (gradient - wanted[name]).norm() <= 1e-4 * wanted[name].norm(), name


@pytest.mark.parametrize("base", ["tiny_base", "qwen2_base", "llama3_base", "builtin"])
def test_packed_examples_give_the_loss_of_a_padded_batch(
    base: str, request: pytest.FixtureRequest, examples: list[Example]
) -> None:
    folder = base if base == "builtin" else str(request.getfixturevalue(base))
    check(load_base(folder, CPU, torch.float32), examples, ForwardMode(True, True))


@pytest.mark.parametrize("base", ["qwen2_base", "llama3_base", "builtin"])
def test_examples_that_begin_alike_give_the_loss_of_a_padded_batch(
    base: str, request: pytest.FixtureRequest, examples: list[Example]
) -> None:
    """As rows with the same system prompt do, whose tokens are computed once."""
    system = list(range(20, 32))
    alike = [
        Example([*system, *e.input_ids], [0] * len(system) + e.learned, e.weight) for e in examples
    ]
    assert batching.collate(alike, 0, CPU, packed=True).segments.prefix == 11  # type: ignore[union-attr]
    folder = base if base == "builtin" else str(request.getfixturevalue(base))
    check(load_base(folder, CPU, torch.float32), alike, ForwardMode(True, True))


def random_model(name: str, **config: Any) -> Any:
    import transformers

    values = {
        "vocab_size": 320,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "pad_token_id": 0,
    }
    torch.manual_seed(0)
    made = getattr(transformers, f"{name}Config")(**values, **config)
    return getattr(transformers, f"{name}ForCausalLM")(made)


@pytest.mark.parametrize(
    ("name", "config", "way", "because"),
    [
        ("Gemma2", {"sliding_window": 8}, ForwardMode(False, False), "sliding window"),
        ("Mistral", {"sliding_window": 8}, ForwardMode(False, True), "sliding window"),
        ("Mistral", {"sliding_window": None}, ForwardMode(True, True), ""),
        ("Granite", {"logits_scaling": 3.0}, ForwardMode(True, False), ""),
    ],
)
def test_bases_with_special_logits_or_attention_use_their_own_forward(
    name: str, config: dict[str, Any], way: ForwardMode, because: str, examples: list[Example]
) -> None:
    """Sliding windows, logit caps and scales: slower, with the same results."""
    causal = random_model(name, **config)
    assert because in (packed_attention.refusal(causal) or "")
    check(causal, examples, way)


def test_a_small_difference_of_packed_outputs_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_attention, "_probe", lambda model: 2e-4)
    causal = random_model("Llama")
    assert packed_attention.refusal(causal) == "its outputs would differ by 2e-4"


def test_a_base_with_learned_positions_keeps_them(examples: list[Example]) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config: Any = GPT2Config(
        vocab_size=320, n_embd=32, n_layer=2, n_head=2, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0
    )
    check(GPT2LMHeadModel(config), examples, ForwardMode(True, True))


def test_bf16_differs_only_by_rounding(tiny_base: Path, examples: list[Example]) -> None:
    model = attach(load_base(str(tiny_base), CPU, torch.bfloat16))
    with torch.autocast("cpu", torch.bfloat16):
        wanted = theirs(model, examples).item()
        way = choose_forward_mode(model.get_base_model())
        assert way.packed and way.learned_logits_only
        own = ours(model, examples, way, 5)
    assert own.item() == pytest.approx(wanted, rel=2e-3)
    assert all(torch.isfinite(g).all() for g in gradients(model, own).values())


def test_gradient_checkpointing_changes_no_gradient(
    tiny_base: Path, examples: list[Example]
) -> None:
    model = attach(load_base(str(tiny_base), CPU, torch.float32))
    way = choose_forward_mode(model.get_base_model())
    wanted = gradients(model, ours(model, examples, way, 5))
    model.get_base_model().gradient_checkpointing_enable({"use_reentrant": False})
    again = gradients(model, ours(model, examples, way, 5))
    for name, gradient in wanted.items():
        torch.testing.assert_close(again[name], gradient)


def test_the_passes_of_a_step_have_all_its_examples(examples: list[Example]) -> None:
    settings = TrainingSettings(batch_size=2, gradient_accumulation_steps=2, max_steps=3)
    plan = batching.BatchPlan(examples, settings)
    for step in range(3):
        own = sorted(map(id, plan.examples(step)))
        for most in (None, 1, 3):
            passes = plan.passes(step, most)
            assert sorted(id(e) for group in passes for e in group) == own
            assert max(map(len, passes)) <= (most or 2)
            lengths = [len(e.input_ids) for group in passes for e in group]
            assert lengths == sorted(lengths, reverse=True)
