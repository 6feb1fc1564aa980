"""Attention within segments, by torch's own kernels as each version calls them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch.nn.functional import scaled_dot_product_attention as attention  # noqa: E402

from tui_trainer.models.kernels import packed_attention  # noqa: E402
from tui_trainer.models.kernels.packed_attention import Segments  # noqa: E402

LENGTHS = (5, 1, 8, 3)


def torch_2_10(
    query: Any, key: Any, value: Any, cu_seq_q: Any, cu_seq_k: Any, max_q: int, max_k: int,
    is_causal: bool = False, return_aux: Any = None,
) -> Any:  # fmt: skip
    assert is_causal
    return one_by_one(query, key, value, cu_seq_q, None)


def torch_2_11(
    query: Any, key: Any, value: Any, cu_seq_q: Any, cu_seq_k: Any, max_q: int, max_k: int, *,
    return_aux: Any = None, scale: float | None = None, window_size: Any = (-1, -1),
) -> Any:  # fmt: skip
    assert tuple(window_size) == (-1, 0)
    return one_by_one(query, key, value, cu_seq_q, scale)


def torch_2_12(
    query: Any, key: Any, value: Any, cu_seq_q: Any, cu_seq_k: Any, max_q: int, max_k: int, *,
    return_aux: Any = None, scale: float | None = None, window_size: Any = (-1, -1),
    enable_gqa: bool = False, seqused_k: Any = None, num_splits: int | None = None,
) -> Any:  # fmt: skip
    assert tuple(window_size) == (-1, 0)
    assert enable_gqa or query.shape[1] == key.shape[1]
    return one_by_one(query, key, value, cu_seq_q, scale)


def one_by_one(q: Any, k: Any, v: Any, bounds: Any, scale: float | None) -> Any:
    """Shapes (tokens, heads, size)."""
    parts = []
    for begin, end in zip(bounds.tolist(), bounds.tolist()[1:], strict=False):
        query, key, value = (t[begin:end].transpose(0, 1) for t in (q, k, v))
        fewer = key.shape[0] != query.shape[0]
        out = attention(query, key, value, is_causal=True, scale=scale, enable_gqa=fewer)
        parts.append(out.transpose(0, 1))
    return torch.cat(parts)


@pytest.mark.parametrize("heads", [(4, 4), (4, 2), (6, 1)])
@pytest.mark.parametrize("scale", [None, 0.3])
@pytest.mark.parametrize("function", [torch_2_10, torch_2_11, torch_2_12])
def test_every_torch_is_called_its_own_way(
    function: Callable[..., Any], scale: float | None, heads: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, h, sum(LENGTHS), 8) for h in (heads[0], heads[1], heads[1]))
    bounds = Segments.of(LENGTHS, torch.device("cpu"))
    got = packed_attention.kernel_of(function)(q, k, v, bounds, scale)
    wanted, _ = packed_attention.attend(
        torch.nn.Identity(), q, k, v, None, scaling=scale, segments=bounds
    )
    torch.testing.assert_close(got, wanted)


def test_the_installed_torch_knows_what_it_is_given() -> None:
    """Without a GPU it gets as far as its own kernel, which the CPU lacks."""
    kernel = packed_attention._torch_kernel()
    assert kernel is not None
    bounds = Segments.of(LENGTHS, torch.device("cpu"))
    q = torch.randn(1, 4, sum(LENGTHS), 8, dtype=torch.bfloat16)
    with pytest.raises(NotImplementedError, match="flash"):
        kernel(q, q[:, :2], q[:, :2], bounds, 0.3)


@pytest.mark.parametrize("lengths", [(7,), (3, 3, 3), LENGTHS, (40, 2, 39, 38, 1)])
def test_each_segment_attends_to_itself_alone(lengths: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    q, k, v = (torch.randn(1, h, sum(lengths), 8, requires_grad=True) for h in (4, 2, 2))
    bounds = Segments.of(lengths, torch.device("cpu"))
    outer = torch.randn(1, sum(lengths), 4, 8)
    got, _ = packed_attention.attend(torch.nn.Identity(), q, k, v, None, segments=bounds)
    rows = [t[0].transpose(0, 1) for t in (q, k, v)]
    wanted = one_by_one(rows[0], rows[1], rows[2], bounds.bounds, None).unsqueeze(0)
    torch.testing.assert_close(got, wanted)
    for ours, theirs in zip(
        torch.autograd.grad(got, (q, k, v), outer),
        torch.autograd.grad(wanted, (q, k, v), outer),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("lengths", [(7, 6, 9), (6, 6, 6, 6), (44, 12, 6, 43, 7), (8, 40)])
def test_a_shared_prefix_gives_what_whole_segments_give(lengths: tuple[int, ...]) -> None:
    """Values and gradients, those of the prefix summed over the segments."""
    torch.manual_seed(2)
    shared = 5
    cpu = torch.device("cpu")
    short = Segments.of(lengths, cpu, shared)
    rows = sum(lengths) - shared * (len(lengths) - 1)
    q, k, v = (torch.randn(1, h, rows, 8, requires_grad=True) for h in (4, 2, 2))
    index: list[int] = []  # of each token of the whole segments in the row
    for number, begin in enumerate(short.bounds.tolist()[:-1]):
        own = lengths[number] - (shared if number else 0)
        index += [*(range(shared) if number else ()), *range(begin, begin + own)]
    whole_q, whole_k, whole_v = (t[:, :, index] for t in (q, k, v))
    expected, _ = packed_attention.attend(
        torch.nn.Identity(),
        whole_q,
        whole_k,
        whole_v,
        None,
        segments=Segments.of(lengths, cpu),
    )
    got, _ = packed_attention.attend(torch.nn.Identity(), q, k, v, None, segments=short)
    first = [index.index(row) for row in range(rows)]
    torch.testing.assert_close(got, expected[:, first])
    assert short.positions()[0].tolist() == Segments.of(lengths, cpu).positions()[0][first].tolist()
    outer = torch.randn(1, rows, 4, 8)
    spread = torch.zeros(1, len(index), 4, 8)
    spread[:, first] = outer
    for ours, theirs in zip(
        torch.autograd.grad(got, (q, k, v), outer),
        torch.autograd.grad(expected, (q, k, v), spread),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)
