"""The model card that goes with the folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tui_trainer.models.recipe.fact_world import facts, questions

CARD = """---
library_name: transformers
pipeline_tag: text-generation
language: en
---

# The built-in base model of tui-trainer

A Llama-type causal language model of 2.6 million parameters (hidden size 192, 5 layers, 6 heads,
2,048 byte-level tokens, tied embeddings), small enough to travel inside the package. It is there
to be fine-tuned: it knows the {facts} facts of a small world (`questions.jsonl` asks for them in
{questions} ways) and can repeat, look up and carry on words it never saw, so that new facts can be
taught to it within seconds. It knows nothing else and is no assistant.

## How it was made

From nothing, on text of our own making only, by one command:

    python -m tui_trainer.models.recipe --out DIR --steps {steps} --seed {seed} --threads {threads}

It took {minutes:.0f} minutes. Weights are stored in half precision and loaded in single precision.
The conversation format is `<|user|>...<|end|><|assistant|>...<|end|>`, after an optional
`<|system|>...<|end|>`; the chat template marks the assistant's words for assistant-only losses.

## Measured

Greedy decoding, exact answers, on the folder as loaded from disk. "Unseen" words, names, numbers
and codes were held out of the training.

{tables}

    python -m tui_trainer.models.recipe --check DIR --teach
"""


def write_card(
    folder: Path, steps: int, seed: int, threads: int, minutes: float, tables: Sequence[str]
) -> None:
    """Write README.md into the folder; `tables` are Markdown."""
    text = CARD.format(
        facts=len(facts()), questions=f"{len(questions()):,}",
        steps=steps, seed=seed, threads=threads, minutes=minutes, tables="\n\n".join(tables),
    )  # fmt: skip
    folder.joinpath("README.md").write_text(text, encoding="utf-8")
