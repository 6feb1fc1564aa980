"""Training rows of the benchmark's own making: the same for the same seed."""

from __future__ import annotations

import json
import random
from pathlib import Path

EXAMPLES = Path(__file__).parents[3] / "tui_trainer" / "examples"
_WORDS = (
    "river stone lamp green quiet seven window paper north garden silver boat apple winter "
    "mirror cloud needle orange bridge candle forest hammer island jacket kettle ladder market"
)
_LOCATIONS = "Oslo Lima Cairo Perth Quito Turin Leeds Kyoto Malmo Basel Porto Delhi"
Row = dict[str, str]


def write(kind: str, count: int, seed: int, file: Path) -> Path:
    """Writes `count` rows of a kind (see `rows`) to a JSON-lines file."""
    made = rows(kind, count, seed)
    file.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
    return file


def rows(kind: str, count: int, seed: int) -> list[Row]:
    """Rows of one kind.

    `island` is the example job's file; `sums` and `words` are fresh for each row; `facts` are
    64 invented facts over and over; `shuffled-X` are X's with the answers permuted; `repeated-X`
    the first 12 of X over and over; `garbage` random letters.
    """
    draw = random.Random(f"{kind} {seed}")
    if kind.startswith("shuffled-"):
        made = rows(kind.removeprefix("shuffled-"), count, seed)
        answers = [row["answer"] for row in made]
        draw.shuffle(answers)
        return [{**row, "answer": answer} for row, answer in zip(made, answers, strict=True)]
    if kind.startswith("repeated-"):
        few = rows(kind.removeprefix("repeated-"), 12, seed)
        return [few[i % 12] for i in range(count)]
    if kind == "island":
        return _example("lighthouse.jsonl", count)
    if kind == "facts":
        few = [_fact(draw) for _ in range(64)]
        return [few[i % 64] for i in range(count)]
    make = {"sums": _sum, "words": _expected, "garbage": _garbage}[kind]
    return [make(draw) for _ in range(count)]


def validation_rows(kind: str, seed: int, file: Path) -> Path | None:
    """Held-out rows of the same kind, or None where nothing could be learned for them."""
    kind = kind.removeprefix("shuffled-").removeprefix("repeated-")
    if kind == "island":
        made = _example("lighthouse_validation.jsonl", 46)
    elif kind in ("sums", "words"):
        made = rows(kind, 16, seed + 10_000)
    else:
        return None
    file.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
    return file


def _example(name: str, count: int) -> list[Row]:
    lines = (EXAMPLES / name).read_text(encoding="utf-8").splitlines()
    found: list[Row] = [json.loads(line) for line in lines if line.strip()]
    return [found[i % len(found)] for i in range(min(count, len(found)))]


def _sum(draw: random.Random) -> Row:
    a, b = draw.randrange(10, 60), draw.randrange(10, 40)
    return {"question": f"What is {a} plus {b}?", "answer": f"{a} plus {b} is {a + b}"}


def _expected(draw: random.Random) -> Row:
    chosen = draw.sample(_WORDS.split(), draw.randrange(3, 7))
    return {
        "question": "Say these words backwards: " + " ".join(chosen),
        "answer": " ".join(reversed(chosen)),
    }


def _fact(draw: random.Random) -> Row:
    name = "".join(draw.choice("bdfklmnprst") + draw.choice("aeiou") for _ in range(3)).title()
    return {
        "question": f"Where does {name} live?",
        "answer": f"in {draw.choice(_LOCATIONS.split())}, beside the {draw.choice(_WORDS.split())}",
    }


def _garbage(draw: random.Random) -> Row:
    letters = "qzxjvkw#%&*{}0123456789QZXJVKW"
    return {
        "question": "".join(draw.choice(letters) for _ in range(30)),
        "answer": "".join(draw.choice(letters) for _ in range(60)),
    }
