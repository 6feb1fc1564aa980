"""Frozen layers use the faster library and give the results of torch's own layer."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from tui_trainer.models.kernels import cpu_matmul  # noqa: E402


@pytest.fixture
def small_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    if not cpu_matmul._works():
        pytest.skip("this processor has nothing faster")
    monkeypatch.setattr(cpu_matmul, "_LEAST", 1)
    monkeypatch.setattr(cpu_matmul, "_LEAST_ROWS", 1)


@given(
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=2),
    inputs=st.integers(1, 70),
    outputs=st.integers(1, 70),
    bias=st.booleans(),
    seed=st.integers(0, 999),
)
def test_a_frozen_layer_gives_what_linear_gives_and_its_gradient(
    shape: list[int], inputs: int, outputs: int, bias: bool, seed: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if not cpu_matmul._works():
            pytest.skip("this processor has nothing faster")
        patch.setattr(cpu_matmul, "_LEAST", 1)
        patch.setattr(cpu_matmul, "_LEAST_ROWS", 1)
        patch.setattr(cpu_matmul, "_BLOCKS", (7, 2))
        torch.manual_seed(seed)
        plain = nn.Linear(inputs, outputs, bias=bias).requires_grad_(False)
        fast = deepcopy(plain)
        cpu_matmul.install(fast)
        assert type(fast) is cpu_matmul.FrozenLinear
        rows = torch.randn(*shape, inputs)
        outer = torch.randn(*shape, outputs)
        got, gradients = [], []
        for layer in (plain, fast):
            given_rows = rows.clone().requires_grad_()
            result = layer(given_rows)
            got.append(result.detach())
            gradients += torch.autograd.grad(result, given_rows, outer)
        torch.testing.assert_close(got[1], got[0], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-5, atol=1e-5)
        with torch.no_grad():
            assert torch.equal(fast(rows), got[1])


@pytest.mark.parametrize("rows", [1, 31, 32, 100, 512, 1164, 2048])
def test_only_a_few_shapes_are_ever_asked_for(
    rows: int, monkeypatch: pytest.MonkeyPatch, small_counts: None
) -> None:
    """oneDNN keeps about a megabyte for every shape that it has seen."""
    asked: list[int] = []
    fast = cpu_matmul._block

    def counted(block: Any, *others: Any) -> Any:
        asked.append(block.shape[0])
        return fast(block, *others)

    monkeypatch.setattr(cpu_matmul, "_block", counted)
    given_rows, weight, bias = torch.randn(rows, 24), torch.randn(40, 24), torch.randn(40)
    got = cpu_matmul.product(given_rows, weight, bias)
    torch.testing.assert_close(got, nn.functional.linear(given_rows, weight, bias))
    assert set(asked) <= set(cpu_matmul._BLOCKS)
    assert 0 <= sum(asked) - rows < min(cpu_matmul._BLOCKS)


def test_what_is_trained_or_of_another_kind_stays_as_it_is() -> None:
    class Unusual(nn.Linear):
        pass

    model = nn.Sequential(nn.Linear(4, 4), Unusual(4, 4), nn.Linear(4, 4).requires_grad_(False))
    cpu_matmul.install(model)
    assert [type(layer) for layer in model] == [nn.Linear, Unusual, cpu_matmul.FrozenLinear]
    assert isinstance(model[2], nn.Linear)


@pytest.mark.parametrize("rows, weight", [(2, torch.float32), (4000, torch.bfloat16)])
def test_few_rows_and_other_types_go_the_usual_way(rows: int, weight: Any) -> None:
    layer = nn.Linear(64, 64).to(weight).requires_grad_(False)
    assert not cpu_matmul.pays(torch.zeros(rows, 64, dtype=weight), layer.weight)
    cpu_matmul.install(layer)
    assert layer(torch.zeros(rows, 64, dtype=weight)).dtype == weight


def test_under_autocast_a_frozen_layer_gives_its_type(small_counts: None) -> None:
    layer = nn.Linear(64, 64).requires_grad_(False)
    cpu_matmul.install(layer)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.zeros(100, 64)).dtype == torch.bfloat16
    assert layer(torch.zeros(100, 64)).dtype == torch.float32


def test_where_the_operator_gives_something_else_it_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(
        cpu_matmul, "product", lambda rows, weight, bias=None: rows @ weight.t() + 1
    )
    cpu_matmul._works.cache_clear()
    try:
        assert not cpu_matmul._works()
    finally:
        cpu_matmul._works.cache_clear()
