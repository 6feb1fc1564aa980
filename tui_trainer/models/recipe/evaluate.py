"""Measuring a model folder as a user gets it: loaded from disk, greedy decoding, exact answers."""

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

PROMISED = {"own questions": 0.98, "copying unseen words": 0.95}
"""Shares of exact answers below which a folder is refused."""
MOST_BYTES = 6_000_000


@dataclass(frozen=True)
class Figure:
    """One line of the table: what was measured, how many were right, of how many."""

    name: str
    right: int
    count: int
    misses: tuple[tuple[str, str, str], ...] = ()
    """Some misses: what was asked, what was wanted, what came."""

    @property
    def share(self) -> float:
        """Share of right answers, 0 to 1."""
        return self.right / max(1, self.count)


def load(folder: Path) -> tuple[Any, Any]:
    """Model and tokenizer of a folder, the plain way."""
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
    """Greedy answers to conversations that end with the user's turn, at most `most` tokens each."""
    texts = [
        tokenizer.apply_chat_template(_prompt(p), tokenize=False, add_generation_prompt=True)
        for p in prompts
    ]
    order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
    found = [""] * len(texts)
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        rows = [texts[at] for at in chosen]
        inputs = tokenizer(
            rows, padding=True, padding_side="left", add_special_tokens=False, return_tensors="pt"
        )
        made = model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            max_new_tokens=most,
            do_sample=False,
        )
        new = made[:, inputs["input_ids"].shape[1] :]
        for at, text in zip(
            chosen, tokenizer.batch_decode(new, skip_special_tokens=True), strict=True
        ):
            found[at] = text
    return found


def measure(model: Any, tokenizer: Any, name: str, cases: Sequence[Sequence[TaskTurn]]) -> Figure:
    """Share of conversations whose last turn the model answers exactly."""
    found = answers(model, tokenizer, [case[:-1] for case in cases])
    misses = tuple(
        (case[-2].text, case[-1].text, text)
        for case, text in zip(cases, found, strict=True)
        if text != case[-1].text
    )
    return Figure(name, len(cases) - len(misses), len(cases), misses)


def own_questions() -> list[list[TaskTurn]]:
    """Every question of the world as a conversation."""
    return [tasks.ask(q.question, q.answer) for q in questions()]


def unseen(
    maker: Callable[[Strings], list[TaskTurn]], count: int, seed: int = 7
) -> list[list[TaskTurn]]:
    """Tasks made of invented items that no training has seen."""
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
    """Every figure of a folder; `count` cases for each that is drawn at random."""
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
    """Bytes of all files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def failures(figures: Sequence[Figure], folder: Path) -> list[str]:
    """One sentence for every promise that the folder breaks."""
    broken = [
        f"{f.name}: {f.share:.1%} right, {PROMISED[f.name]:.0%} promised"
        for f in figures
        if f.name in PROMISED and f.share < PROMISED[f.name]
    ]
    size = folder_bytes(folder)
    if size > MOST_BYTES:
        broken.append(f"the folder holds {size:,} bytes, at most {MOST_BYTES:,} promised")
    return broken


def table(figures: Sequence[Figure]) -> str:
    """The figures as a Markdown table."""
    rows = [f"| {f.name} | {f.right} of {f.count} | {f.share:.1%} |" for f in figures]
    return "\n".join(["| measured | exactly right | share |", "|---|---|---|", *rows])
