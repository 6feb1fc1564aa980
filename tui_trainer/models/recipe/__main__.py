"""Make the built-in model from nothing, or measure a folder that holds one.

Example: python -m tui_trainer.models.recipe --out builtin
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

from tui_trainer.models.recipe import evaluate, teachable_facts
from tui_trainer.models.recipe.fact_world import write_questions
from tui_trainer.models.recipe.model_card import write_card
from tui_trainer.models.recipe.train import STEPS, save, train


def _arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tui_trainer.models.recipe",
        description="Make the built-in base model from nothing, or measure a folder of it.",
        epilog="example: python -m tui_trainer.models.recipe --out builtin --threads 2",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=Path, metavar="DIR", help="make the complete folder DIR")
    what.add_argument("--check", type=Path, metavar="DIR", help="only measure the folder DIR")
    parser.add_argument("--steps", type=int, default=STEPS, help="training steps (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of text and weights (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="processor threads (%(default)s)")
    parser.add_argument(
        "--teach", action="store_true", help="measure how well it can be taught, too (minutes)"
    )
    arguments = parser.parse_args(given)
    if arguments.steps < 1 or arguments.threads < 1:
        parser.error("--steps and --threads must be at least 1")
    if arguments.check and not (arguments.check / "config.json").is_file():
        parser.error(f"{arguments.check} holds no model: it has no config.json")
    return arguments


def _make(folder: Path, steps: int, seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    model, tokenizer = train(steps, seed)
    save(model, tokenizer, folder)
    write_questions(folder / "questions.jsonl")


def _teach(folder: Path) -> str:
    taught = []
    for chosen in teachable_facts.correction_sets():
        for lesson in (
            teachable_facts.TeachingRecipe(varied=0.0),
            teachable_facts.TeachingRecipe(),
        ):
            print(f"teaching: {chosen['group']}, {chosen['name']}", file=sys.stderr, flush=True)
            taught.append(teachable_facts.teach_set(folder, chosen, lesson))
    return teachable_facts.table(taught)


def main(given: list[str] | None = None) -> int:
    """Run the command; 0 if the folder keeps its promises, 1 if not."""
    arguments = _arguments(given)
    torch.set_num_threads(arguments.threads)
    began = time.monotonic()
    folder: Path = arguments.check or arguments.out
    if arguments.out:
        _make(folder, arguments.steps, arguments.seed)
        minutes = (time.monotonic() - began) / 60
        print(f"made in {minutes:.1f} minutes, now measured from {folder}", file=sys.stderr)
    figures = evaluate.evaluate(folder)
    tables = [evaluate.table(figures)]
    if arguments.teach:
        tables.append(_teach(folder))
    print("\n\n".join(tables), flush=True)
    if arguments.out:
        made = (arguments.steps, arguments.seed, arguments.threads)
        write_card(folder, *made, minutes, tables)
    broken = evaluate.failures(figures, folder)
    for line in broken:
        print(f"refused: {line}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
