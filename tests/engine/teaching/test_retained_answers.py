"""The divergence from the base: exact, the same packed and padded, and kept small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from tui_trainer.contracts.job import LoraSettings  # noqa: E402
from tui_trainer.engine.data.batching import collate  # noqa: E402
from tui_trainer.engine.data.example import Example  # noqa: E402
from tui_trainer.engine.loss import ForwardMode, choose_forward_mode  # noqa: E402
from tui_trainer.engine.teaching.retained_answers import divergence  # noqa: E402
from tui_trainer.models import base_model, lora_train  # noqa: E402

EXAMPLES = [
    Example([5, 9, 11, 40, 41, 42], [0, 0, 0, 1, 1, 1], 1.0, retained=True),
    Example([6, 8, 30, 31], [0, 0, 1, 1], 1.0, retained=True),
]


def adapted(tiny_base: Path, *, strength: float) -> tuple[Any, Any]:
    torch.manual_seed(0)
    base = base_model.load_base(str(tiny_base), torch.device("cpu"), torch.float32)
    model = lora_train.attach(base, LoraSettings(rank=4, dropout=0.0))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.add_(strength * torch.randn_like(parameter))
    return base, model


def by_hand(model: Any) -> float:
    """The same from the logits of each example alone."""
    total = 0.0
    for example in EXAMPLES:
        ids = torch.tensor([example.input_ids])
        with torch.no_grad():
            ours = model(input_ids=ids).logits[0]
            with model.disable_adapter():
                theirs = model(input_ids=ids).logits[0]
        places = [i - 1 for i, learned in enumerate(example.learned) if learned]
        total += float(
            functional.kl_div(
                ours[places].log_softmax(-1),
                theirs[places].log_softmax(-1),
                log_target=True,
                reduction="sum",
            )
        )
    return total


@pytest.mark.parametrize("learned_logits_only", [True, False])
def test_it_is_the_divergence_of_all_logits(tiny_base: Path, learned_logits_only: bool) -> None:
    _, model = adapted(tiny_base, strength=0.5)
    batch = collate(EXAMPLES, 0, torch.device("cpu"))
    got = divergence(
        model, batch, ForwardMode(packed=False, learned_logits_only=learned_logits_only)
    )
    wanted = by_hand(model)
    assert wanted > 0.01
    assert float(got) == pytest.approx(wanted, rel=1e-3)


def test_packed_examples_give_the_same(tiny_base: Path) -> None:
    base, model = adapted(tiny_base, strength=0.5)
    wanted = by_hand(model)
    mode = choose_forward_mode(base)
    assert mode.packed
    batch = collate(EXAMPLES, 0, torch.device("cpu"), packed=True)
    assert float(divergence(model, batch, mode)) == pytest.approx(wanted, rel=1e-3)


def test_an_adapter_that_changes_nothing_has_no_divergence_and_is_active_afterwards(
    tiny_base: Path,
) -> None:
    _, model = adapted(tiny_base, strength=0.0)
    batch = collate(EXAMPLES, 0, torch.device("cpu"))
    got = divergence(model, batch, ForwardMode(packed=False, learned_logits_only=True))
    assert 0.0 <= float(got) < 1e-4
    got.backward()  # type: ignore[no-untyped-call]
    trained = [p for n, p in model.named_parameters() if "lora_" in n]
    assert all(p.requires_grad for p in trained)
