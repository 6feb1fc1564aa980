"""Measuring how well the model learns ten corrections at a time, with replay of known answers."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch.nn.functional import cross_entropy

from tui_trainer.models.recipe.evaluate import exact_percent, load, measure, own_questions
from tui_trainer.models.recipe.fact_world import load_toml
from tui_trainer.models.recipe.tasks import TaskTurn, ask, wrap
from tui_trainer.models.recipe.tokenizer import PAD, Encoder
from tui_trainer.models.recipe.train import pad_rows
from tui_trainer.text import formats


@dataclass(frozen=True)
class TeachingRecipe:
    """Settings of a LoRA training on corrections."""

    steps: int = 60
    rate: float = 3e-3  # peak learning rate
    rank: int = 16
    alpha: int = 32
    replay: int = 16  # known answers added to every step
    varied: float = 0.6  # share of the corrected questions that get random wordings in each step


@dataclass(frozen=True)
class Taught:
    """Result of one training on corrections. Shares are from 0 to 1."""

    name: str  # of the set of corrections
    group: str  # of the set, with the kind of training
    recalled: float  # share of the corrections answered exactly
    reworded: float  # share answered exactly in another wording
    kept: float  # share of known questions still answered exactly
    seconds: float  # of training
    misses: tuple[tuple[str, str, str], ...]  # reworded: (question, expected, given answer)


def correction_sets(group: str | None = None) -> list[dict[str, Any]]:
    """Return the sets of corrections of one group, or all."""
    sets: list[dict[str, Any]] = load_toml("corrections.toml")["set"]
    return [s for s in sets if group in (None, s["group"])]


def _scale(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / 5, (steps - step) / (steps * 0.5))


def _vary(turns: list[TaskTurn], rng: random.Random) -> list[TaskTurn]:
    # Words around a question make the answer less dependent on the exact wording.
    return ask(wrap(turns[0].text, rng), turns[1].text)


def _teach(
    model: Any, tokenizer: Any, taught: Sequence[list[TaskTurn]], known: Sequence[list[TaskTurn]],
    settings: TeachingRecipe, seed: int,
) -> None:  # fmt: skip
    """Train the adapter on all corrections in every step, with some known answers."""
    encode, rng = Encoder(tokenizer), random.Random(seed)
    weights = [p for p in model.parameters() if p.requires_grad]
    adam = torch.optim.AdamW(weights, lr=settings.rate, weight_decay=0.0)
    model.train()
    for step in range(settings.steps):
        adam.param_groups[0]["lr"] = settings.rate * _scale(step, settings.steps)
        varied = [
            _vary(turns, rng) if rng.random() < settings.varied else turns for turns in taught
        ]
        rows = [encode(turns) for turns in (*varied, *rng.sample(list(known), settings.replay))]
        ids, is_token, learned = pad_rows(rows, encode.ids[PAD])
        logits = model(input_ids=ids, attention_mask=is_token.long()).logits[:, :-1]
        wanted = learned[:, 1:]
        loss = cross_entropy(logits[wanted], ids[:, 1:][wanted])
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        adam.step()
        adam.zero_grad()
    model.eval()


def teach_set(
    folder: Path, chosen: dict[str, Any], settings: TeachingRecipe, seed: int = 0
) -> Taught:
    """Train a new adapter of the folder's model on one set of corrections, and measure it.

    `kept` is measured on known questions that are neither corrected nor replayed.
    """
    model, tokenizer = load(folder)
    torch.manual_seed(seed)
    items = chosen["items"]
    corrected = {question for asked, again, _ in items for question in (asked, again)}
    world = [turns for turns in own_questions() if turns[0].text not in corrected]
    random.Random(seed).shuffle(world)
    half = len(world) // 2
    config = LoraConfig(r=settings.rank, lora_alpha=settings.alpha, target_modules="all-linear")
    wordings = "taught in several wordings" if settings.varied else "taught in one wording"
    started = time.monotonic()
    tuned = get_peft_model(model, config)
    _teach(tuned, tokenizer, [ask(q, a) for q, _, a in items], world[:half], settings, seed)
    seconds = time.monotonic() - started
    again = measure(tuned, tokenizer, "again", [ask(q, a) for _, q, a in items])
    return Taught(
        name=chosen["name"],
        group=f"{chosen['group']}, {wordings}",
        recalled=measure(tuned, tokenizer, "same", [ask(q, a) for q, _, a in items]).share,
        reworded=again.share,
        kept=measure(tuned, tokenizer, "kept", world[half : half + 300]).share,
        seconds=seconds,
        misses=again.misses,
    )


def table(taught: Sequence[Taught]) -> str:
    """Return the figures of every set and the mean of every group, as a Markdown table."""
    lines = ["| ten corrections | recalled | reworded | kept | seconds |", "|---|---|---|---|---|"]
    groups = dict.fromkeys(t.group for t in taught)
    for group in groups:
        rows = [t for t in taught if t.group == group]
        lines += [_row(f"{group}: {t.name}", [t]) for t in rows]
        lines.append(_row(f"**{group}: mean**", rows))
    return "\n".join(lines)


def _row(name: str, rows: Sequence[Taught]) -> str:
    def mean(field: str) -> float:
        return sum(float(getattr(row, field)) for row in rows) / len(rows)

    shares = " | ".join(exact_percent(mean(field)) for field in ("recalled", "reworded", "kept"))
    return f"| {name} | {shares} | {formats.number(mean('seconds'), 3)} |"
