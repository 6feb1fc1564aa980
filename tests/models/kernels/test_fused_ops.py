"""Fused operations give the results of the original layers, forward and backward."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

import transformers  # noqa: E402
from peft import LoraConfig, get_peft_model  # noqa: E402
from torch import nn  # noqa: E402
from transformers.models.llama import modeling_llama as llama  # noqa: E402

from tui_trainer.models.kernels import cpu_matmul, fused_ops  # noqa: E402

FAMILIES = ["Llama", "Qwen2", "Qwen3", "Mistral", "Gemma2", "Phi3", "Olmo2", "SmolLM3", "GPTNeoX"]
SIZES = {
    "vocab_size": 61, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2, "max_position_embeddings": 64,
}  # fmt: skip


@pytest.fixture(autouse=True)
def own_rotations() -> Iterator[None]:
    """The libraries' own functions before each test and after it."""
    _restore()
    yield
    _restore()


def _restore() -> None:
    for name, module in list(sys.modules.items()):
        rotate: Any = getattr(module, "apply_rotary_pos_emb", None)
        if name.startswith("transformers.models.") and hasattr(rotate, "__wrapped__"):
            setattr(module, "apply_rotary_pos_emb", rotate.__wrapped__)  # noqa: B010


def family(name: str) -> Any:
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**SIZES)
    model = getattr(transformers, f"{name}ForCausalLM")(config).eval()
    for parameter in model.parameters():
        if parameter.dim() == 1:  # norms whose weights are all alike would prove little
            nn.init.normal_(parameter, 1.0, 0.3)
    return model.requires_grad_(False)


def adapted(model: Any, **settings: Any) -> Any:
    torch.manual_seed(1)
    names = [n.rsplit(".", 1)[-1] for n, m in model.named_modules() if type(m) is nn.Linear]
    targets = [name for name in dict.fromkeys(names) if name not in ("lm_head", "embed_out")]
    chosen = {"r": 3, "target_modules": targets, **settings}
    model = get_peft_model(model, LoraConfig(**chosen))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, 0.0, 0.1)
    return model


def learned(model: Any) -> tuple[Any, dict[str, Any]]:
    """Logits, and every trained parameter's gradient of a random function of them."""
    torch.manual_seed(2)
    model.zero_grad(set_to_none=True)
    logits = model(torch.arange(3, 25).view(2, 11)).logits
    (logits * torch.randn_like(logits)).sum().backward()
    return logits.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def kinds(model: Any) -> set[str]:
    """Which fused kinds are in the model."""
    return {
        kind.__name__
        for module in model.modules()
        for kind in (fused_ops._FusedNorm, fused_ops._FusedMLP, fused_ops._FusedLora)
        if isinstance(module, kind)
    }


def compare(model: Any, training: bool = False) -> set[str]:
    """Asserts that fused and plain agree; returns what was fused."""
    plain, changed = model.train(training), deepcopy(model)
    logits, gradients = learned(plain)
    cpu_matmul.install(changed)
    fused_ops.install(changed)
    got_logits, got_gradients = learned(changed)
    torch.testing.assert_close(got_logits, logits, rtol=1e-4, atol=1e-5)
    assert got_gradients.keys() == gradients.keys() and gradients
    for name, gradient in gradients.items():
        torch.testing.assert_close(got_gradients[name], gradient, rtol=2e-4, atol=1e-4, msg=name)
    return kinds(changed)


@pytest.mark.parametrize("name", FAMILIES)
def test_whole_models_of_many_families_come_out_as_before(name: str) -> None:
    attention = ("q_proj", "v_proj", "qkv_proj", "query_key_value")
    model = family(name)
    there = {n.rsplit(".", 1)[-1] for n, _ in model.named_modules()}
    found = compare(adapted(model, target_modules=[n for n in attention if n in there]))
    usual = {"_FusedNorm", "_FusedMLP", "_FusedLora"}
    expected = {
        "Gemma2": {"_FusedLora"},  # norms by 1 + weight, and gelu
        "Phi3": {"_FusedNorm", "_FusedLora"},  # gate and up are one layer
        "GPTNeoX": {"_FusedLora"},  # another norm, another MLP
    }
    assert found == expected.get(name, usual)


@pytest.mark.parametrize("settings", [{}, {"use_rslora": True}, {"lora_dropout": 0.4}])
def test_adapters_on_every_layer_learn_as_before(settings: dict[str, Any]) -> None:
    found = compare(adapted(family("Llama"), **settings), training=True)
    assert found == {"_FusedNorm", "_FusedLora"}


def test_what_is_more_than_a_plain_adapter_goes_the_usual_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("the fused operation was used")

    monkeypatch.setattr(fused_ops._Lora, "apply", never)
    compare(adapted(family("Llama"), use_dora=True))
    two = adapted(family("Llama"))
    two.add_adapter("second", two.peft_config["default"])
    two.base_model.set_adapter(["default", "second"])
    compare(two)
    with pytest.raises(AssertionError):
        compare(adapted(family("Llama")))


def test_a_switched_off_adapter_adds_nothing() -> None:
    plain = family("Llama")
    ids = torch.arange(3, 14).view(1, 11)
    with torch.no_grad():
        wanted = plain(ids).logits
        model = adapted(deepcopy(plain))
        cpu_matmul.install(model)
        fused_ops.install(model)
        assert not torch.allclose(model(ids).logits, wanted, atol=1e-4)
        with model.disable_adapter():
            torch.testing.assert_close(model(ids).logits, wanted, rtol=1e-4, atol=1e-5)


def test_half_precision_goes_the_usual_way() -> None:
    model = adapted(family("Llama")).to(torch.bfloat16)
    changed = deepcopy(model)
    cpu_matmul.install(changed)
    fused_ops.install(changed)
    for cast in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=cast):
            assert torch.equal(learned(changed)[0], learned(model)[0])


def test_a_part_that_only_looks_alike_is_left_as_it_is() -> None:
    class OddRMSNorm(llama.LlamaRMSNorm):
        def forward(self, hidden_states: Any) -> Any:
            return 2 * super().forward(hidden_states)

    unusual = OddRMSNorm(8).requires_grad_(False)
    fused_ops.install(unusual)
    assert type(unusual) is OddRMSNorm


def test_installing_twice_changes_nothing_more() -> None:
    model = adapted(family("Llama"), target_modules=["q_proj"])
    for _ in range(2):
        cpu_matmul.install(model)
        fused_ops.install(model)
        kept = [type(module) for module in model.modules()]
        rotate = llama.apply_rotary_pos_emb
    assert kept == [type(module) for module in model.modules()]
    assert not hasattr(rotate.__wrapped__, "__wrapped__")
    assert compare(model) == {"_FusedNorm", "_FusedMLP", "_FusedLora"}


@given(
    rows=st.integers(1, 5),
    size=st.integers(1, 40),
    spread=st.sampled_from([0.01, 1.0, 1e3]),
    epsilon=st.sampled_from([1e-6, 1e-5, 0.1]),
    seed=st.integers(0, 999),
)
def test_a_norm_and_its_gradient(
    rows: int, size: int, spread: float, epsilon: float, seed: int
) -> None:
    torch.manual_seed(seed)
    plain = llama.LlamaRMSNorm(size, epsilon).requires_grad_(False)
    nn.init.normal_(plain.weight)
    changed = deepcopy(plain)
    fused_ops.install(changed)
    assert isinstance(changed, fused_ops._FusedNorm)
    _same(plain, changed, (2, rows, size), spread)


@given(
    rows=st.integers(1, 600), hidden=st.integers(1, 6), inner=st.integers(1, 12),
    fast=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_a_gated_mlp_and_its_gradient(
    rows: int, hidden: int, inner: int, fast: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    hidden *= 2
    config = transformers.LlamaConfig(
        hidden_size=hidden, intermediate_size=inner, num_attention_heads=1
    )
    plain = llama.LlamaMLP(config).requires_grad_(False)
    changed = deepcopy(plain)
    cpu_matmul.install(changed)
    fused_ops.install(changed)
    assert isinstance(changed, fused_ops._FusedMLP)
    with pytest.MonkeyPatch.context() as patch:
        if fast:  # as wide layers are multiplied, where the processor can
            patch.setattr(cpu_matmul, "_LEAST", 1)
        _same(plain, changed, (1, rows, hidden), 1.0)


def _same(plain: Any, changed: Any, shape: tuple[int, ...], spread: float) -> None:
    x, outer = torch.randn(shape) * spread, torch.randn(shape)
    results = []
    for module in (plain, changed):
        rows = x.clone().requires_grad_()
        out = module(rows)
        results.append((out.detach(), *torch.autograd.grad(out, rows, outer)))
    # What a norm's gradient is the difference of has the size of 1 / spread.
    for got, wanted, size in zip(results[1], results[0], (1.0, 1 / spread), strict=True):
        limit = 1e-5 * max(size, float(wanted.abs().max()))
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=limit)


@given(
    heads=st.integers(1, 4), tokens=st.integers(1, 9), half=st.integers(1, 6),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_a_rotation_and_its_gradient(heads: int, tokens: int, half: int, seed: int) -> None:
    torch.manual_seed(seed)
    own = llama.apply_rotary_pos_emb
    own = getattr(own, "__wrapped__", own)
    fused_ops._install_rotation(llama)
    cos, sin = torch.randn(2, tokens, 2 * half), torch.randn(2, tokens, 2 * half)
    q, k = torch.randn(2, tokens, heads, 2 * half), torch.randn(2, tokens, 1, 2 * half)
    outer = torch.randn(2, heads, tokens, 2 * half)
    results = []
    for rotate in (own, llama.apply_rotary_pos_emb):
        given_q = q.clone().requires_grad_()
        both = rotate(given_q.transpose(1, 2), k.transpose(1, 2), cos, sin)
        gradient = torch.autograd.grad(both[0], given_q, outer)[0]
        results.append((both[0].detach(), both[1], gradient))
    for got, wanted in zip(*reversed(results), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)
