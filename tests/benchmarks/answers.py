"""`python -m tests.benchmarks.answers [--model FOLDER]`: tokens per second of answers, beside
`generate` of transformers in the same run: one conversation, the same with an adapter of all
linear layers, and many questions one at a time and together.

The default model is SmolLM2 as `python -m tests.real.prepare` makes it. Both take turns, and the
best round of each counts, so that other work on the computer falls on both alike. Greedy answers
must be the same in fp32, or it ends with status 1. `--while-training` measures the chat process
instead, with and without a teaching training beside it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import platformdirs
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import GenerationConfig

from tests.benchmarks import while_training
from tui_trainer.contracts.teaching.feedback import Turn
from tui_trainer.models import base_model, lora_load
from tui_trainer.models.base_identity import origin_of
from tui_trainer.models.chat_template import EncodedPrompt
from tui_trainer.models.serving.adapter_pool import BASE_ALONE, AdapterPool
from tui_trainer.models.serving.generate import TextGenerator
from tui_trainer.models.serving.token_choice import Sampling

CPU = torch.device("cpu")
QUESTIONS = [
    "Write a short story about a fox who finds a lamp.",
    "What is the capital of France?",
    "List three uses of a paper clip.",
    "Explain why the sky is blue.",
    "How do I boil an egg?",
    "Who painted the Mona Lisa?",
    "Give me a name for a black cat.",
    "What is 12 plus 30?",
    "Describe the sea in one sentence.",
    "What do bees make?",
    "Translate 'good morning' to Spanish.",
    "How many days are in a leap year?",
    "What is photosynthesis?",
    "Name a planet with rings.",
    "Write a line of a poem about rain.",
    "What is the opposite of hot?",
]


@dataclass
class Measured:
    """Rounds of one way to answer.

    rates: tokens per second of each round.
    cpu_rates: tokens per second of CPU time, which other processes disturb less.
    tokens: the tokens of the last round, by question.
    """

    rates: list[float] = field(default_factory=list)
    cpu_rates: list[float] = field(default_factory=list)
    tokens: list[list[int]] = field(default_factory=list)

    def run(self, work: Callable[[], list[list[int]]]) -> None:
        """Does the work once and measures it."""
        began, cpu_began = time.perf_counter(), time.process_time()
        self.tokens = work()
        count = sum(map(len, self.tokens))
        self.rates.append(count / (time.perf_counter() - began))
        self.cpu_rates.append(count / (time.process_time() - cpu_began))


class Plain:
    """A model that only transformers and PEFT know."""

    def __init__(self, model: Any, stops: list[int], pad: int) -> None:
        self.model, self._stops, self._pad = model, stops, pad

    def answers(self, prompts: Sequence[EncodedPrompt]) -> list[list[int]]:
        """Greedy tokens to all prompts in one call, padded on the left."""
        rows = [prompt.input_ids for prompt in prompts]
        width = max(map(len, rows))
        ids = torch.tensor([[self._pad] * (width - len(row)) + row for row in rows])
        seen = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        config = GenerationConfig(
            max_new_tokens=prompts[0].max_new_tokens, do_sample=False,
            pad_token_id=self._pad, eos_token_id=self._stops,
        )  # fmt: skip
        made = self.model.generate(input_ids=ids, attention_mask=seen, generation_config=config)
        return [self._ended(row) for row in made[:, width:].tolist()]

    def _ended(self, ids: list[int]) -> list[int]:
        end = next((at for at, token in enumerate(ids) if token in self._stops), len(ids))
        return ids[: end + 1]


class Ours:
    """The generator of the chat process."""

    def __init__(self, generator: TextGenerator, pool: AdapterPool) -> None:
        self.generator, self.pool = generator, pool

    def alone(self, prompts: Sequence[EncodedPrompt]) -> list[list[int]]:
        """Greedy tokens to each prompt in turn, shown as they come."""
        made = []
        for prompt in prompts:
            tokens: list[int] = []

            def keep(so_far: list[int], into: list[int] = tokens) -> bool:
                into[:] = so_far
                self.generator.tokenizer.decode(so_far)
                return False

            self.generator._generate_one(prompt, Sampling(), keep)
            made.append(tokens)
        return made

    def together(self, prompts: Sequence[EncodedPrompt]) -> list[list[int]]:
        """Greedy tokens to all prompts in one batch."""
        return self.generator._generate_many(prompts, lambda _: False)


def main() -> int:
    """Measures and prints; 1 where answers differ from transformers' in fp32."""
    cache = Path(platformdirs.user_cache_dir("tui-trainer", appauthor=False))
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.answers", description=__doc__)
    parser.add_argument("--model", type=Path, default=cache / "real-models" / "smollm2")
    parser.add_argument("--tokens", type=int, default=96, help="of an answer at most")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--questions", type=int, default=len(QUESTIONS), help="asked together")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--while-training", action="store_true", help="the chat process with a training beside it"
    )
    parser.add_argument("--bf16", action="store_true", help="also on a processor without it")
    options = parser.parse_args()
    if not (options.model / "config.json").is_file():
        parser.error(f"{options.model} has no model: python -m tests.real.prepare makes it")
    if options.while_training:
        return while_training.main(options.model, QUESTIONS[0], options.tokens, options.rounds)
    torch.set_num_threads(options.threads)
    print(f"{options.model.name}, {options.threads} threads, best of {options.rounds} rounds")
    precisions = [torch.float32]
    if options.bf16 or base_model.has_fast_bf16():
        precisions.append(torch.bfloat16)
    else:
        print("bf16: not measured, this processor calculates without it (--bf16 does all the same)")
    same = [measure(options, precision) for precision in precisions]
    return 0 if same[0] else 1


def measure(options: argparse.Namespace, precision: torch.dtype) -> bool:
    """Prints the rates with one precision; whether all tokens were those of transformers."""
    folder = str(options.model)
    plain_model = base_model.load_base(folder, CPU, precision).eval()
    model = base_model.load_base(folder, CPU, precision)
    base = lora_load.describe(model, origin_of(folder))
    generator = TextGenerator(model, base_model.load_tokenizer(folder))
    if generator.decoder is None:
        print("the decoder does not know this model: both sides are transformers")
    ours = Ours(generator, AdapterPool(model, base, generator.decoder))
    pad = generator.tokenizer.pad_token_id or 0
    prompts = [generator.fit([Turn("user", text)], options.tokens) for text in QUESTIONS]
    prompts = prompts[: options.questions]
    name = str(precision).removeprefix("torch.")
    same = True
    with tempfile.TemporaryDirectory() as adapter:
        for label in ("one conversation", "one conversation, adapter"):
            if label.endswith("adapter"):
                plain_model = _with_adapter(plain_model, adapter, folder)
                ours.pool.activate(ours.pool.acquire([(Path(adapter), 1.0)]))
            plain = Plain(plain_model, generator.stops, pad)
            theirs, mine = Measured(), Measured()
            for _ in range(options.rounds):
                theirs.run(partial(plain.answers, prompts[:1]))
                ours.alone([prompts[1]])  # nothing of the measured prompt stays cached
                mine.run(lambda: ours.alone(prompts[:1]))
            same &= _print(f"{name} {label}", "generate", theirs, "ours", mine)
        ours.pool.activate(BASE_ALONE)
        plain_model.disable_adapter_layers()
        alone, together, theirs = Measured(), Measured(), Measured()
        for _ in range(options.rounds):
            theirs.run(lambda: plain.answers(prompts))
            alone.run(lambda: ours.alone(prompts))
            together.run(lambda: ours.together(prompts))
        count = len(prompts)
        same &= _print(f"{name} {count} questions", "one at a time", alone, "together", together)
        same &= _print(f"{name} {count} together", "generate", theirs, "ours", together)
    return same


def _with_adapter(model: Any, folder: str, base: str) -> Any:
    """The model with a random adapter, as teaching makes them, which is saved too."""
    torch.manual_seed(1)
    config = LoraConfig(r=32, lora_alpha=64, target_modules="all-linear", task_type="CAUSAL_LM")
    peft: PeftModel = get_peft_model(model, config)
    for name, parameter in peft.named_parameters():
        if "lora_B" in name:
            parameter.data = torch.randn_like(parameter) * 1e-3
    for settings in peft.peft_config.values():
        settings.base_model_name_or_path = base
    peft.save_pretrained(folder)
    return peft.eval()


def _print(label: str, a: str, slow: Measured, b: str, fast: Measured) -> bool:
    same = slow.tokens == fast.tokens
    left, right = max(slow.rates), max(fast.rates)
    cpu = max(fast.cpu_rates) / max(slow.cpu_rates)
    print(
        f"{label}: {a} {left:.1f} tokens/s, {b} {right:.1f} tokens/s, {right / left:.2f} times "
        f"({cpu:.2f} times a CPU second); tokens {'identical' if same else 'DIFFER'}",
        flush=True,
    )
    return same


if __name__ == "__main__":
    sys.exit(main())
