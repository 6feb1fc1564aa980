"""The KL divergence tile by tile is that of all logits at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from tui_trainer.models.kernels import linear_cross_entropy, linear_kl  # noqa: E402


@given(
    positions=st.integers(1, 13),
    vocabulary=st.integers(2, 40),
    tile=st.tuples(st.integers(1, 14), st.integers(1, 41)),
    bias=st.booleans(),
    scale=st.sampled_from([0.1, 3.0, 20.0]),
    seed=st.integers(0, 999),
)
def test_divergence_and_gradient_are_those_of_all_logits(
    positions: int, vocabulary: int, tile: tuple[int, int], bias: bool, scale: float, seed: int
) -> None:
    torch.manual_seed(seed)
    layer = nn.Linear(8, vocabulary, bias=bias).requires_grad_(False)
    reference = torch.randn(positions, 8) * scale
    hidden = (reference + 0.3 * torch.randn(positions, 8)).requires_grad_()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear_cross_entropy, "_CPU_TILE", tile)
        total = linear_kl.kl_divergence(hidden, reference, layer)
        (ours,) = torch.autograd.grad(total * 0.7, hidden)
    right = functional.kl_div(
        layer(hidden).log_softmax(-1),
        layer(reference).log_softmax(-1),
        log_target=True,
        reduction="sum",
    )
    (wanted,) = torch.autograd.grad(right * 0.7, hidden)
    torch.testing.assert_close(total, right, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours, wanted, rtol=1e-3, atol=1e-4)


def test_equal_predictions_have_no_divergence_and_no_gradient() -> None:
    layer = nn.Linear(8, 20).requires_grad_(False)
    hidden = torch.randn(5, 8, requires_grad=True)
    total = linear_kl.kl_divergence(hidden, hidden, layer)
    (gradient,) = torch.autograd.grad(total, hidden)
    assert 0.0 <= float(total) < 1e-5
    assert float(gradient.abs().max()) < 1e-5
