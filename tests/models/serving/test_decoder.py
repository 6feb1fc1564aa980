"""The decoder calculates what transformers does, with and without adapters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from tui_trainer.contracts.teaching.feedback import Turn
from tui_trainer.models import base_model, lora_load
from tui_trainer.models.serving import decoder as decoders
from tui_trainer.models.serving.adapter_pool import BASE_ALONE, AdapterPool
from tui_trainer.models.serving.decode_loop import Conversation, generate_many, generate_one
from tui_trainer.models.serving.decoder import Decoder, KeyValueCache, decoder_for
from tui_trainer.models.serving.generate import TextGenerator
from tui_trainer.models.serving.token_choice import Sampling, TokenChoice
from tui_trainer.store import paths

CPU = torch.device("cpu")
SHAPE: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "use_cache": True,
}
KINDS: dict[str, dict[str, Any]] = {
    "Llama": {"tie_word_embeddings": True},
    "Llama with biases": {"attention_bias": True, "mlp_bias": True, "head_dim": 16},
    "Llama with scaled positions": {
        "rope_parameters": {
            "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 32,
        }
    },
    "Qwen2": {"tie_word_embeddings": True},
    "Qwen3": {"head_dim": 16},
    "Mistral": {"sliding_window": None},
}  # fmt: skip
OTHERS: dict[str, dict[str, Any]] = {
    "Mistral": {"sliding_window": 8},
    "Qwen2": {"sliding_window": 8, "use_sliding_window": True, "max_window_layers": 1},
    "Gemma": {"head_dim": 8},
}


def make(kind: str, **settings: Any) -> Any:
    """A random model whose biases and norms are not at their initial values."""
    name = kind.split(maxsplit=1)[0]
    torch.manual_seed(7)
    config = getattr(transformers, f"{name}Config")(**SHAPE | settings)
    model = getattr(transformers, f"{name}ForCausalLM")(config).eval()
    with torch.no_grad():
        for key, value in model.named_parameters():
            if key.endswith("bias") or "norm" in key:
                value.add_(torch.randn_like(value) * 0.3)
            else:
                value.mul_(4)
    return model


def greedy(decoder: Decoder, ids: list[int], count: int, conversation: Conversation) -> list[int]:
    choice = TokenChoice(Sampling(), CPU)
    return generate_one(decoder, conversation, ids, count, choice, [], lambda _: False)


def reference(model: Any, ids: list[int], count: int) -> list[int]:
    made = model.generate(
        input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        max_new_tokens=count,
        do_sample=False, repetition_penalty=1.0, pad_token_id=0, eos_token_id=None,
    )  # fmt: skip
    tokens: list[int] = made[0, len(ids) :].tolist()
    return tokens


def random_ids(count: int, seed: int) -> list[int]:
    chance = torch.Generator().manual_seed(seed)
    ids: list[int] = torch.randint(SHAPE["vocab_size"], (count,), generator=chance).tolist()
    return ids


@pytest.mark.parametrize("kind", KINDS)
def test_its_tokens_are_those_of_transformers(kind: str) -> None:
    model = make(kind, **KINDS[kind])
    prompts = [random_ids(count, count) for count in (1, 9, 30, 14)]
    wanted = [reference(model, ids, 40) for ids in prompts]

    decoder = decoder_for(model)

    assert decoder is not None
    assert [greedy(decoder, ids, 40, Conversation()) for ids in prompts] == wanted
    assert generate_many(decoder, prompts, 40, [], lambda _: False) == wanted
    assert [reference(model, ids, 40) for ids in prompts] == wanted, "transformers, as before"
    assert len({tuple(tokens) for tokens in wanted}) > 1


@pytest.mark.parametrize("kind", OTHERS)
def test_a_model_of_another_shape_is_left_to_transformers(kind: str) -> None:
    model = make(kind, **OTHERS[kind])
    before = [parameter.data_ptr() for parameter in model.parameters()]
    assert decoder_for(model) is None
    assert [parameter.data_ptr() for parameter in model.parameters()] == before


def test_a_model_that_gives_other_numbers_is_left_to_transformers() -> None:
    model = make("Llama")
    for layer in model.model.layers:
        layer.self_attn.scaling *= 2
    assert decoder_for(model) is None
    assert reference(model, [5, 6], 4)


def test_the_weights_are_in_memory_once() -> None:
    model = make("Llama", tie_word_embeddings=True)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert decoder_for(model) is not None
    tensors = {p.untyped_storage().data_ptr(): p.untyped_storage() for p in model.parameters()}
    assert sum(storage.nbytes() for storage in tensors.values()) == 4 * parameters
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_half_precision_agrees_too() -> None:
    model = make("Llama").to(torch.bfloat16)
    decoder = decoder_for(model)
    assert decoder is not None
    assert len(greedy(decoder, [3, 4, 5], 6, Conversation())) == 6


@pytest.mark.parametrize("read_at_once", [4, 2048])
def test_the_next_prompt_continues_what_is_cached(
    read_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui_trainer.models.serving.decode_loop._READ_AT_ONCE", read_at_once)
    model = make("Llama")
    decoder = decoder_for(model)
    assert decoder is not None
    read: list[int] = []
    logits = decoder.logits

    def counting(ids: torch.Tensor, cache: KeyValueCache, *rest: Any) -> torch.Tensor:
        read.append(ids.shape[1])
        return logits(ids, cache, *rest)

    monkeypatch.setattr(decoder, "logits", counting)
    conversation, first = Conversation(), random_ids(20, 1)
    answer = greedy(decoder, first, 10, conversation)
    assert sum(read) == 29

    for prompt in ([*first, *answer, 7, 8], first, [*first[:12], 1, 2, 3], [5], first):
        read.clear()
        cached = conversation.ids
        known = next(
            (at for at, (a, b) in enumerate(zip(cached, prompt, strict=False)) if a != b),
            min(len(cached), len(prompt)),
        )
        assert greedy(decoder, prompt, 5, conversation) == reference(model, prompt, 5)
        assert sum(read) == len(prompt) - min(known, len(prompt) - 1) + 4


@pytest.mark.parametrize("read_at_once", [8, 2048])
def test_a_batch_with_a_shared_beginning_and_early_ends(
    read_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui_trainer.models.serving.decode_loop._READ_AT_ONCE", read_at_once)
    model = make("Qwen2", tie_word_embeddings=True)
    shared = random_ids(25, 3)
    prompts = [[*shared, *random_ids(count, count)] for count in (3, 3, 17, 1, 8, 2, 30, 11)]
    wanted = [reference(model, ids, 30) for ids in prompts]
    stops = [wanted[1][4], wanted[2][9]]
    for tokens in wanted:
        end = next((at for at, token in enumerate(tokens) if token in stops), len(tokens))
        del tokens[end + 1 :]
    decoder = decoder_for(model)
    assert decoder is not None
    done: list[int] = []

    def ended(count: int) -> bool:
        done.append(count)
        return False

    assert generate_many(decoder, prompts, 30, stops, ended) == wanted
    assert len({len(tokens) for tokens in wanted}) > 1
    assert done == sorted(done)
    assert done[-1] == len(prompts)


@pytest.mark.parametrize("weights", [[1.0], [0.7, -0.4]])
def test_adapters_are_added_as_peft_does(
    weights: list[float],
    qwen2_base: Path,
    qwen2_facts: lora_load.Base,
    make_adapter: Callable[..., Path],
) -> None:
    model = base_model.load_base(str(qwen2_base), CPU, torch.float32).eval()
    settings = [
        {
            "target_modules": ["q_proj", "v_proj", "down_proj", "o_proj"],
            "r": 7,
            "use_rslora": True,
        },
        {"target_modules": "all-linear", "r": 3},
    ]
    folders = [make_adapter(qwen2_base, seed=n, **settings[n]) for n in range(len(weights))]
    decoder = decoder_for(model)
    assert decoder is not None
    pool = AdapterPool(model, qwen2_facts, decoder)
    ids, conversation = list(range(40, 60)), Conversation()
    base = reference(model, ids, 20)
    assert greedy(decoder, ids, 20, conversation) == base

    mix = pool.acquire(list(zip(folders, weights, strict=True)))
    pool.activate(mix)
    cache = KeyValueCache(decoder.weights)
    with torch.no_grad():
        right = model(torch.tensor([ids])).logits[0, -1]
    with torch.inference_mode():
        ours = decoder.logits(torch.tensor([ids]), cache)[0]
    assert (ours - right).abs().max() < 1e-5 * right.abs().max()
    wanted = reference(model, ids, 20)
    assert wanted != base
    assert greedy(decoder, ids, 20, conversation) == wanted, "nothing of the base is reused"
    assert generate_many(decoder, [ids, ids[:7]], 20, [], lambda _: False)[0] == wanted

    pool.activate(BASE_ALONE)
    assert greedy(decoder, ids, 20, conversation) == base
    pool.activate(mix)
    assert greedy(decoder, ids, 20, conversation) == wanted
    pool.release(mix)
    pool.activate(BASE_ALONE)
    assert greedy(decoder, ids, 20, conversation) == base


def test_a_dora_adapter_is_left_to_transformers(
    qwen2_base: Path, qwen2_facts: lora_load.Base, make_adapter: Callable[..., Path]
) -> None:
    model = base_model.load_base(str(qwen2_base), CPU, torch.float32)
    generator = TextGenerator(model, base_model.load_tokenizer(str(qwen2_base)))
    assert generator.decoder is not None
    pool = AdapterPool(model, qwen2_facts, generator.decoder)
    prompt = generator.fit([Turn("user", "the cat")], 12)
    folder = make_adapter(qwen2_base, seed=2, target_modules="all-linear", use_dora=True)

    def answers() -> tuple[str, list[str] | None]:
        one = generator.write(prompt, Sampling(), lambda _: None, lambda: False).text
        return one, generator.write_many([prompt, prompt], lambda _: False)

    base = answers()
    pool.activate(pool.acquire([(folder, 1.0)]))
    assert generator.decoder.suspended
    one, many = answers()
    made = reference(model, prompt.input_ids, 12)
    assert one != base[0]
    assert many == [one, one]
    assert generator.tokenizer.decode(made, skip_special_tokens=True).startswith(one)
    pool.activate(BASE_ALONE)
    assert not generator.decoder.suspended
    assert answers() == base


def test_the_built_in_base_answers_as_with_transformers() -> None:
    folder = str(paths.builtin_model())
    generator = TextGenerator(
        base_model.load_base(folder, CPU, torch.float32), base_model.load_tokenizer(folder)
    )
    assert generator.decoder is not None
    questions = ["Who are you?", "What is 3 + 4?", "Reverse the word lamp.", "Tell me a story."]
    prompts = [generator.fit([Turn("user", text)], 40) for text in questions]
    ours = [
        generator.write(prompt, Sampling(), lambda _: None, lambda: False) for prompt in prompts
    ]
    together = generator.write_many(prompts, lambda _: False)
    generator.decoder.suspended = True
    wanted = [
        generator.write(prompt, Sampling(), lambda _: None, lambda: False) for prompt in prompts
    ]
    assert [a.text for a in ours] == together == [a.text for a in wanted]
    assert [(a.tokens, a.finish) for a in ours] == [(a.tokens, a.finish) for a in wanted]


def test_a_cache_that_grows_keeps_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "_GROWTH", 2)
    model = make("Llama")
    decoder = decoder_for(model)
    assert decoder is not None
    assert greedy(decoder, [1, 2, 3], 60, Conversation()) == reference(model, [1, 2, 3], 60)
