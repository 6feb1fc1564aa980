"""An incomplete base is refused by the names of missing parameters; a complete one is loaded."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from tests import bases as makers
from tui_trainer.contracts.errors import UserError
from tui_trainer.models import base_model as bases
from tui_trainer.models.completeness import NEW_PARTS, notices

Tensors = dict[str, torch.Tensor]
Edit = Callable[[Tensors], None]
CPU = torch.device("cpu")
LABELS = ["calm", "angry", "odd"]


@pytest.fixture
def edited(tmp_path: Path, tiny_base: Path) -> Callable[[str, Edit], Path]:
    """A random base of a kind whose file's tensors were edited. "tied": a Llama, tied."""

    def make(kind: str, edit: Edit) -> Path:
        folder = tmp_path / kind
        tokenizer = AutoTokenizer.from_pretrained(tiny_base)
        tokenizer.save_pretrained(str(folder))
        shape = {"num_key_value_heads": 2} | (
            {"tie_word_embeddings": True} if kind == "tied" else {}
        )
        known = "llama" if kind == "tied" else kind
        makers.save_model(known, folder, tokenizer, seed=7, **({} if kind == "bert" else shape))
        tensors = {n: t.clone() for n, t in load_file(folder / "model.safetensors").items()}
        edit(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    return make


def load(folder: Path, *, classifies: bool = False) -> object:
    labels = LABELS if classifies else None
    return bases.load_base(str(folder), CPU, torch.float32, labels=labels)


def without(part: str) -> Edit:
    def edit(tensors: Tensors) -> None:
        names = [name for name in tensors if part in name]
        assert names
        for name in names:
            del tensors[name]

    return edit


def renamed(old: str, new: str) -> Edit:
    def edit(tensors: Tensors) -> None:
        for name in list(tensors):
            tensors[name.replace(old, new)] = tensors.pop(name)

    return edit


def cut(name: str) -> Edit:
    def edit(tensors: Tensors) -> None:
        tensors[name] = tensors[name][:5].clone()

    return edit


def spoilt(name: str, value: float = float("nan")) -> Edit:
    def edit(tensors: Tensors) -> None:
        tensors[name].view(-1)[-1] = value

    return edit


def both(*edits: Edit) -> Edit:
    def edit(tensors: Tensors) -> None:
        for one in edits:
            one(tensors)

    return edit


def nothing(_: Tensors) -> None:
    """The base as it was made."""


def doubled(tensors: Tensors) -> None:
    """A tied output layer that is in the file as well, as older versions wrote it."""
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()


def old_buffers(tensors: Tensors) -> None:
    """Buffers that older versions stored: in fp16 GPT-2's mask was an infinity."""
    mask = torch.tensor(-1e9, dtype=torch.float16)
    tensors |= {"transformer.h.0.attn.masked_bias": mask}
    tensors |= {"transformer.h.0.attn.bias": torch.ones(1, 1, 4, 4, dtype=torch.uint8)}


NORM, C_ATTN = "model.norm.weight", "transformer.h.1.attn.c_attn"
QUERY = "bert.encoder.layer.1.attention.self.query"


@pytest.mark.parametrize("classifies", [False, True])
@pytest.mark.parametrize(
    ("kind", "edit", "expected"),
    [
        ("llama", without("up_proj"), r"2 parameters are missing from its files \(model.layers.0"),
        ("qwen2", without("k_proj.bias"), r"2 parameters are missing .*k_proj.bias"),
        (
            "gpt2",
            without(C_ATTN),
            rf"2 parameters are missing .*\({C_ATTN}.bias, {C_ATTN}.weight\)",
        ),
        ("llama", renamed("model.", "modle."), r"\d+ parameters are missing .* and \d+ more\)"),
        ("tied", without("embed_tokens"), r"missing from its files \(.*model.embed_tokens.weight"),
        (
            "llama",
            cut(NORM),
            r"1 parameter has another shape .*\(model.norm.weight; .*\[5\], not \[",
        ),
        ("gpt2", cut("transformer.ln_f.bias"), r"another shape .*\(transformer.ln_f.bias; "),
        ("qwen2", spoilt(NORM), r"1 parameter contains NaN or infinity \(model.norm.weight\)"),
        ("gpt2", spoilt(f"{C_ATTN}.weight", float("-inf")), rf"infinity \({C_ATTN}.weight\)"),
        ("bert", without(QUERY), rf"missing from its files \({QUERY}.bias, {QUERY}.weight\)"),
        ("bert", spoilt(f"{QUERY}.bias"), rf"NaN or infinity \({QUERY}.bias\)"),
        (
            "llama",
            both(without("layers.0.mlp.up_proj"), cut(NORM), spoilt("model.embed_tokens.weight")),
            "1 parameter is missing .* 1 parameter has .*, 1 parameter contains .*download",
        ),
    ],
)
def test_a_base_that_is_not_what_it_claims_is_refused_by_name(
    kind: str, edit: Edit, expected: str, classifies: bool, edited: Callable[[str, Edit], Path]
) -> None:
    folder = edited(kind, edit)
    with pytest.raises(UserError, match=f"the model in {folder} cannot be used: .*{expected}"):
        load(folder, classifies=classifies)


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_an_output_layer_of_its_own_is_needed_to_write_not_to_classify(
    kind: str, edited: Callable[[str, Edit], Path]
) -> None:
    folder = edited(kind, without("lm_head"))
    with pytest.raises(UserError, match=r"1 parameter is missing from its files \(lm_head.weight"):
        load(folder)
    assert getattr(load(folder, classifies=True), NEW_PARTS) == ["score"]


@pytest.mark.parametrize(
    ("kind", "edit"),
    [
        ("llama", nothing),
        ("qwen2", nothing),
        ("gpt2", nothing),
        ("gpt2", old_buffers),
        ("tied", nothing),
        ("tied", doubled),
        ("tied", renamed("model.embed_tokens.weight", "lm_head.weight")),
    ],
)
def test_what_is_tied_or_derived_may_be_missing(
    kind: str, edit: Edit, edited: Callable[[str, Edit], Path]
) -> None:
    model = load(edited(kind, edit))
    assert notices(model) == [] or edit is old_buffers


@pytest.mark.parametrize(
    ("edit", "new"),
    [
        (nothing, ["bert.pooler.dense", "classifier"]),
        (renamed("bert.", ""), ["bert.pooler.dense", "classifier"]),
        (spoilt("cls.predictions.bias"), ["bert.pooler.dense", "classifier"]),
        (lambda t: t.update({"classifier.weight": torch.ones(9, 32)}), None),
    ],
)
def test_an_encoder_may_lack_pooler_and_head(
    edit: Edit, new: list[str] | None, edited: Callable[[str, Edit], Path]
) -> None:
    model = load(edited("bert", edit), classifies=True)
    assert getattr(model, NEW_PARTS) == (new or ["bert.pooler.dense", "classifier"])
    assert notices(model) == [], "that its other head is not used is no news"


def test_tensors_that_the_base_does_not_use_are_named_even_if_not_finite(
    edited: Callable[[str, Edit], Path],
) -> None:
    def edit(tensors: Tensors) -> None:
        tensors["model.layers.9.mlp.up_proj.weight"] = torch.full((2, 2), float("nan"))
        tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.full((2,), float("inf"))

    (notice,) = notices(load(edited("llama", edit)))
    assert notice == (
        "the base does not use 1 tensor in its files: model.layers.9.mlp.up_proj.weight"
    )


def test_a_base_in_the_hubs_cache_is_checked_alike(
    edited: Callable[[str, Edit], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "hub" / "models--owner--name"
    (store / "refs").mkdir(parents=True)
    (store / "refs" / "main").write_text("0" * 40)
    shutil.copytree(edited("llama", nothing), store / "snapshots" / ("0" * 40))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    bases.load_base("owner/name", CPU, torch.float32)
    shutil.copy(
        edited("llama", spoilt(NORM)) / "model.safetensors", store / "snapshots" / ("0" * 40)
    )
    with pytest.raises(UserError, match="model owner/name cannot be used: 1 parameter contains"):
        bases.load_base("owner/name", CPU, torch.float32)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_base_in_four_bits_is_checked_alike(
    kind: str, edited: Callable[[str, Edit], Path]
) -> None:
    """transformers does not check the shape of weights that it quantises."""
    pytest.importorskip("bitsandbytes")

    def four_bit(edit: Edit) -> object:
        return bases.load_base(str(edited(kind, edit)), CPU, torch.float32, four_bit=True)

    four_bit(nothing)
    name = "model.layers.0.mlp.up_proj.weight" if kind == "llama" else f"{C_ATTN}.weight"
    for edit, expected in (
        (cut(name), "another shape"),
        (without(name), "missing"),
        (spoilt(name), "NaN or infinity"),
    ):
        with pytest.raises(UserError, match=rf"1 parameter .*{expected} .*\({name}"):
            four_bit(edit)
