"""Measuring a model folder: loaded from disk, greedy decoding, share of exact answers."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tui_trainer.models.recipe import tasks
from tui_trainer.models.recipe.fact_world import facts, questions
from tui_trainer.models.recipe.string_tasks import Strings
from tui_trainer.models.recipe.tasks import TaskTurn
from tui_trainer.text import formats

# Shares of exact answers below which a folder is refused.
REQUIRED = {"own questions": 0.98, "copying unseen words": 0.95}
MOST_BYTES = 6_000_000  # of the folder


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    name: str  # what was measured
    right: int  # exact answers
    count: int  # questions
    misses: tuple[tuple[str, str, str], ...] = ()  # (question, expected answer, given answer)

    @property
    def share(self) -> float:
        """Share of exact answers, 0 to 1."""
        return self.right / max(1, self.count)


def load(folder: Path) -> tuple[Any, Any]:
    """Load model and tokenizer of a folder with plain transformers."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    return model.eval(), AutoTokenizer.from_pretrained(folder)


def _prompt(turns: Sequence[TaskTurn]) -> list[dict[str, str]]:
    return [{"role": turn.role, "content": turn.text} for turn in turns]


@torch.inference_mode()
def answers(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[TaskTurn]],
    batch: int = 64,
    most: int = 48,
) -> list[str]:
    """Answer conversations that end with the user's turn, greedily, with at most `most` tokens."""
    texts = [
        tokenizer.apply_chat_template(_prompt(p), tokenize=False, add_generation_prompt=True)
        for p in prompts
    ]
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    results = [""] * len(texts)
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        rows = [texts[index] for index in chosen]
        inputs = tokenizer(
            rows, padding=True, padding_side="left", add_special_tokens=False, return_tensors="pt"
        )
        generated = model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            max_new_tokens=most,
            do_sample=False,
        )
        new = generated[:, inputs["input_ids"].shape[1] :]
        for index, text in zip(
            chosen, tokenizer.batch_decode(new, skip_special_tokens=True), strict=True
        ):
            results[index] = text
    return results


def measure(model: Any, tokenizer: Any, name: str, cases: Sequence[Sequence[TaskTurn]]) -> Figure:
    """Count the conversations whose last turn the model answers exactly."""
    given = answers(model, tokenizer, [case[:-1] for case in cases])
    misses = tuple(
        (case[-2].text, case[-1].text, text)
        for case, text in zip(cases, given, strict=True)
        if text != case[-1].text
    )
    return Figure(name, len(cases) - len(misses), len(cases), misses)


def own_questions() -> list[list[TaskTurn]]:
    """Return every question of `fact_world` as a conversation."""
    return [tasks.ask(q.question, q.answer) for q in questions()]


def unseen(
    maker: Callable[[Strings], list[TaskTurn]], count: int, seed: int = 7
) -> list[list[TaskTurn]]:
    """Return tasks made of invented items that were not in the training."""
    made = Strings(random.Random(seed), unseen=True)
    return [maker(made) for _ in range(count)]


def _copy(made: Strings) -> list[TaskTurn]:
    text = " ".join(made.item() for _ in range(made.rng.randint(1, 6)))
    return tasks.ask(f"Repeat these words: {text}", text)


def _other_wordings(count: int, seed: int = 7) -> list[list[TaskTurn]]:
    rng = random.Random(seed)
    chosen = [rng.choice(facts()) for _ in range(count)]
    return [tasks.ask(tasks.wrap(rng.choice(f.wordings), rng), f.answer) for f in chosen]


def evaluate(folder: Path, count: int = 300) -> list[Figure]:
    """Measure a folder, with `count` random cases for each figure but the own questions."""
    model, tokenizer = load(folder)
    sets = {
        "own questions": own_questions(),
        "copying unseen words": unseen(_copy, count),
        "own questions, put otherwise": _other_wordings(count),
        "looking up an unseen fact": unseen(tasks.look_up, count),
        "asked again in other words": unseen(tasks.reworded, count),
    }
    return [measure(model, tokenizer, name, cases) for name, cases in sets.items()]


def folder_bytes(folder: Path) -> int:
    """Return the bytes of all files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def failures(figures: Sequence[Figure], folder: Path) -> list[str]:
    """Return one sentence for every requirement that the folder does not meet."""
    failed = [
        f"{f.name}: {exact_percent(f.share)} right, {exact_percent(REQUIRED[f.name])} required"
        for f in figures
        if f.name in REQUIRED and f.share < REQUIRED[f.name]
    ]
    size = folder_bytes(folder)
    if size > MOST_BYTES:
        failed.append(
            f"the folder has {formats.size(size)}, at most {formats.size(MOST_BYTES)} are allowed"
        )
    return failed


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as a Markdown table."""
    rows = [f"| {f.name} | {f.right} of {f.count} | {exact_percent(f.share)} |" for f in figures]
    return "\n".join(["| measured | exactly right | share |", "|---|---|---|", *rows])


def exact_percent(share: float) -> str:
    """Return a share with three digits, so that near misses of a requirement show: `97.9 %`."""
    return f"{formats.number(100 * share, 3)} %"
