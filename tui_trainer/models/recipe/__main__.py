"""Train the built-in model from scratch, or measure a folder that contains one.

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
from tui_trainer.text import formats


def _arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tui_trainer.models.recipe",
        description="Train the built-in base model from scratch, or measure a folder with it.",
        epilog="example: python -m tui_trainer.models.recipe --out builtin --threads 2",
    )
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--out", type=Path, metavar="DIR", help="train and write the folder DIR")
    mode.add_argument("--check", type=Path, metavar="DIR", help="only measure the folder DIR")
    parser.add_argument(
        "--steps", type=int, default=STEPS, help="training steps (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of text and weights (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    parser.add_argument(
        "--teach",
        action="store_true",
        help="also measure how well it learns corrections (takes minutes)",
    )
    arguments = parser.parse_args(given)
    if arguments.steps < 1 or arguments.threads < 1:
        parser.error("--steps and --threads must be at least 1")
    if arguments.check and not (arguments.check / "config.json").is_file():
        parser.error(f"{arguments.check} contains no model: config.json is missing")
    return arguments


def _make(folder: Path, steps: int, seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    model, tokenizer = train(steps, seed)
    save(model, tokenizer, folder)
    write_questions(folder / "questions.jsonl")


def _teach(folder: Path) -> str:
    taught = []
    for chosen in teachable_facts.correction_sets():
        for settings in (
            teachable_facts.TeachingRecipe(varied=0.0),
            teachable_facts.TeachingRecipe(),
        ):
            print(f"teaching: {chosen['group']}, {chosen['name']}", file=sys.stderr, flush=True)
            taught.append(teachable_facts.teach_set(folder, chosen, settings))
    return teachable_facts.table(taught)


def main(given: list[str] | None = None) -> int:
    """Run the command; return 0 if the folder meets all requirements, else 1."""
    arguments = _arguments(given)
    torch.set_num_threads(arguments.threads)
    started = time.monotonic()
    folder: Path = arguments.check or arguments.out
    if arguments.out:
        _make(folder, arguments.steps, arguments.seed)
        seconds = time.monotonic() - started
        print(f"trained in {formats.duration(seconds)}; measuring {folder}", file=sys.stderr)
    figures = evaluate.evaluate(folder)
    tables = [evaluate.table(figures)]
    if arguments.teach:
        tables.append(_teach(folder))
    print("\n\n".join(tables), flush=True)
    if arguments.out:
        made_with = (arguments.steps, arguments.seed, arguments.threads)
        write_card(folder, *made_with, seconds / 60, tables)
    failures = evaluate.failures(figures, folder)
    for line in failures:
        print(f"refused: {line}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
