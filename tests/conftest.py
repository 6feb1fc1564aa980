"""What every floor's tests share."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests import bases

# Before torch is loaded: threads that spin while they wait slow down tests that run side by side.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# No test asks the network.
os.environ["HF_HUB_OFFLINE"] = "1"
# No test asserts how long anything takes, as Hypothesis does of itself.
hypothesis.settings.register_profile("patient", deadline=None)
# For a second pass on other versions of what is depended on: pytest --hypothesis-profile few
hypothesis.settings.register_profile("few", deadline=None, max_examples=10)
hypothesis.settings.load_profile("patient")

# The light package's tests pass without torch (see .ci/run): whole modules of its users are left
# out here, single tests take the fixture `train_extra`.
HAS_TORCH = importlib.util.find_spec("torch") is not None
NO_TORCH = "needs torch: pip install -e '.[train]'"
collect_ignore = [] if HAS_TORCH else ["engine", "models", "integrations/test_transformers.py"]

CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
QWEN2_TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are helpful.<|im_end|>\n"
    "{% endif %}{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA3_TEMPLATE = (
    "{{ '<|begin_of_text|>' }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}"
    "<|end_header_id|>\n\n{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests may take long on a busy machine; the timeout only ends those that hang."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's own folders."""
    monkeypatch.setenv("TUI_TRAINER_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="session")
def train_extra() -> None:
    """For what needs torch: skipped where the extra `train` is not installed."""
    if not HAS_TORCH:
        pytest.skip(NO_TORCH)


@pytest.fixture
def nothing_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what only pretends to train: no package is missed."""
    monkeypatch.setattr("tui_trainer.launch.engine_process.NEEDED", ())


@pytest.fixture(scope="session")
def tiny_base(train_extra: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random two-layer Llama and a byte-level tokenizer with a chat template."""
    folder = tmp_path_factory.mktemp("base") / "tiny"
    special = ["<|end|>", "<|pad|>", "<|user|>", "<|assistant|>", "<|system|>"]
    fast = bases.byte_tokenizer(folder, special, CHAT_TEMPLATE, eos="<|end|>", pad="<|pad|>")
    return bases.save_model("llama", folder, fast, seed=0, max_position_embeddings=256)


@pytest.fixture(scope="session")
def qwen2_base(train_extra: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Qwen2 with ChatML turns; its end-of-text token is not what ends a turn."""
    folder = tmp_path_factory.mktemp("base") / "qwen2"
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    fast = bases.byte_tokenizer(folder, special, QWEN2_TEMPLATE, eos="<|endoftext|>", pad=None)
    bases.save_model(
        "qwen2",
        folder,
        fast,
        seed=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        initializer_range=0.3,  # else every answer repeats one token
    )
    sampling = {"do_sample": True, "temperature": 0.7, "repetition_penalty": 1.3, "eos_token_id": 0}
    (folder / "generation_config.json").write_text(json.dumps(sampling))
    return folder


@pytest.fixture(scope="session")
def llama3_base(train_extra: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama with Llama 3's kind of chat template, untied, with rope scaling."""
    folder = tmp_path_factory.mktemp("base") / "llama3"
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>"]
    special.append("<|eot_id|>")
    fast = bases.byte_tokenizer(folder, special, LLAMA3_TEMPLATE, eos="<|end_of_text|>", pad=None)
    return bases.save_model(
        "llama",
        folder,
        fast,
        seed=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        initializer_range=0.3,
        eos_token_id=[1, 4],
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 500000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 256,
        },
    )


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    """A random two-layer BERT with the tiny base's tokenizer."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("base") / "bert"
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    tokenizer.save_pretrained(str(folder))
    return bases.save_model("bert", folder, tokenizer, seed=3, max_position_embeddings=128)


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows to a JSONL file in the test's folder."""

    def write(name: str, rows: list[dict[str, object]]) -> Path:
        file = tmp_path / name
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return file

    return write


@pytest.fixture
def shared_data() -> Path:
    """Real data named by TUI_TRAINER_SHARED_DATA; tests that need it are skipped without."""
    folder = os.environ.get("TUI_TRAINER_SHARED_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("TUI_TRAINER_SHARED_DATA names no folder")
    return Path(folder)


@pytest.fixture(scope="session")
def make_adapter(
    train_extra: None, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """Saves a random LoRA adapter for a base's folder, the way PEFT itself does; keyword
    arguments go to `LoraConfig`. `strength` multiplies what it changes."""

    def make(base: Path, *, seed: int = 1, strength: float = 1.0, **lora: Any) -> Path:
        import torch
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM

        settings = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "down_proj"], **lora}
        torch.manual_seed(seed)
        model = get_peft_model(
            AutoModelForCausalLM.from_pretrained(base),
            LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, **settings),
        )
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    parameter.mul_(strength)
        folder = tmp_path_factory.mktemp("adapter") / f"adapter{seed}"
        model.save_pretrained(str(folder))
        return folder

    return make
