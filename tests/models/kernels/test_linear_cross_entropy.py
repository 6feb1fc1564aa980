"""The tiled loss of the output layer equals the loss of all logits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from tui_trainer.models.kernels import linear_cross_entropy  # noqa: E402


@given(
    positions=st.integers(1, 13),
    vocabulary=st.integers(1, 40),
    tile=st.tuples(st.integers(1, 14), st.integers(1, 41)),
    bias=st.booleans(),
    scale=st.sampled_from([0.1, 3.0, 60.0]),
    seed=st.integers(0, 999),
)
def test_loss_hits_and_gradient_are_those_of_all_logits(
    positions: int, vocabulary: int, tile: tuple[int, int], bias: bool, scale: float, seed: int
) -> None:
    torch.manual_seed(seed)
    layer = nn.Linear(8, vocabulary, bias=bias).requires_grad_(False)
    hidden = (torch.randn(positions, 8) * scale).requires_grad_()
    targets = torch.randint(vocabulary, (positions,))
    weights = torch.rand(positions)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear_cross_entropy, "_CPU_TILE", tile)
        total, hits = linear_cross_entropy.cross_entropy(
            hidden, layer, targets, weights, count_hits=True
        )
        (ours,) = torch.autograd.grad(total * 0.7, hidden)
    logits = layer(hidden)
    right = (functional.cross_entropy(logits, targets, reduction="none") * weights).sum()
    (wanted,) = torch.autograd.grad(right * 0.7, hidden)
    torch.testing.assert_close(total, right, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-5)
    expected = (logits.argmax(1) == targets).float() @ weights
    torch.testing.assert_close(hits, expected)
    with torch.no_grad():
        _, cheap = linear_cross_entropy.cross_entropy(hidden, layer, targets, weights)
    torch.testing.assert_close(cheap, expected)


def test_a_goal_that_is_nearly_certain_keeps_its_small_gradient() -> None:
    """p W - W of the target would lose all precision in fp32."""
    layer = nn.Linear(2, 3, bias=False).requires_grad_(False)
    layer.weight.copy_(torch.tensor([[1000.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
    hidden = torch.tensor([[0.02, 0.0]], requires_grad=True)
    total, _ = linear_cross_entropy.cross_entropy(hidden, layer, torch.tensor([0]), torch.ones(1))
    (ours,) = torch.autograd.grad(total, hidden)
    exact = hidden.detach().double().requires_grad_()
    loss = functional.cross_entropy(exact @ layer.weight.double().t(), torch.tensor([0]))
    (wanted,) = torch.autograd.grad(loss, exact)
    torch.testing.assert_close(ours.double(), wanted, rtol=1e-3, atol=1e-12)


def test_without_a_gradient_only_the_loss_is_taken() -> None:
    layer = nn.Linear(8, 20).requires_grad_(False)
    hidden, targets = torch.randn(5, 8), torch.randint(20, (5,))
    with torch.no_grad():
        total, hits = linear_cross_entropy.cross_entropy(hidden, layer, targets, torch.ones(5))
    assert not total.requires_grad and not hits.requires_grad
    right = functional.cross_entropy(layer(hidden), targets, reduction="sum")
    torch.testing.assert_close(total, right)


def test_of_several_most_probable_tokens_any_counts_without_the_exact_count() -> None:
    layer = nn.Linear(8, 20).requires_grad_(False)
    layer.weight.zero_()
    layer.bias.zero_()
    hidden, targets, weights = torch.randn(2, 8), torch.tensor([0, 7]), torch.ones(2)
    cheap = linear_cross_entropy.cross_entropy(hidden, layer, targets, weights)[1]
    exact = linear_cross_entropy.cross_entropy(hidden, layer, targets, weights, count_hits=True)[1]
    assert (float(cheap), float(exact)) == (2.0, 1.0)


def test_token_losses_are_each_positions_loss() -> None:
    layer = nn.Linear(8, 20).requires_grad_(False)
    hidden, targets = torch.randn(5, 8, requires_grad=True), torch.randint(20, (5,))
    losses = torch.empty(5)
    linear_cross_entropy.cross_entropy(
        hidden, layer, targets, torch.full((5,), 3.0), token_losses=losses
    )
    right = functional.cross_entropy(layer(hidden), targets, reduction="none")
    torch.testing.assert_close(losses, right.detach())
