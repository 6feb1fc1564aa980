"""Teaching one set of corrections as a user would, and what came of it."""

from __future__ import annotations

import os
import tempfile
import time
import tomllib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tui_trainer.chat.client import ChatClient
from tui_trainer.contracts.feedback import RatedExample, Rating, Turn
from tui_trainer.contracts.teaching import TeachingSettings
from tui_trainer.store import paths
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.store.feedback.feedback_store import FeedbackStore
from tui_trainer.teaching.feedback_trainer import FeedbackTrainer
from tui_trainer.teaching.paraphrases import turned
from tui_trainer.teaching.replay import split_held_out
from tui_trainer.teaching.training_rows import KnownAnswer

MOST_TOKENS = 64
# No training of ten corrections takes so long, even on a busy machine.
LIMIT_SECONDS = 600.0
RATINGS: tuple[Rating, ...] = ("medium", "medium", "medium", "critical")


class Correction(msgspec.Struct, frozen=True, array_like=True):
    """What is asked and taught, the same asked in other words, and the right answer."""

    kind: str
    question: str
    again: str
    answer: str


class CorrectionSet(msgspec.Struct, frozen=True):
    """Ten corrections of one small world."""

    group: str
    name: str
    items: list[Correction]


@dataclass(frozen=True)
class Result:
    """Shares from 0 to 1; `held_out` is that of the golden answers that are never replayed,
    `unaided` that of the rewordings which no rule of the lessons produces.

    `seconds` from the last rating to the first answer of the new adapter; `refused` says that
    the gate would not have let it go live.
    """

    settings: str
    name: str
    recalled: float
    kept: float
    held_out: float
    reworded: float
    unaided: float
    seconds: float
    refused: bool
    misses: tuple[tuple[str, str, str], ...]
    """Questions answered otherwise than taught: asked, wanted, got."""


def load_sets(group: str) -> list[CorrectionSet]:
    """The sets of a group: `dev` may guide settings, `test` is only reported."""
    data = tomllib.loads((Path(__file__).parent / "sets.toml").read_text(encoding="utf-8"))
    sets = msgspec.convert(data["set"], list[CorrectionSet])
    return [chosen for chosen in sets if chosen.group == group]


def golden() -> list[tuple[str, str]]:
    """The built-in base's own questions and answers."""
    lines = (paths.builtin_model() / "questions.jsonl").read_bytes().splitlines()
    rows = [msgspec.json.decode(line) for line in lines]
    return [(row["question"], row["answer"]) for row in rows]


def teach(
    client: ChatClient, chosen: CorrectionSet, name: str, settings: TeachingSettings
) -> Result:
    """One set through feedback, trigger, engine, gate and swap, in a home folder of its own."""
    client.use({}, {})
    with tempfile.TemporaryDirectory(prefix="teaching-") as home:
        os.environ["TUI_TRAINER_HOME"] = home
        # The gate says what it thinks, but everything is let through, so as to be measured.
        open_gate = msgspec.structs.replace(settings, min_recalled=0.0, min_kept=0.0)
        trainer = FeedbackTrainer(
            client,
            FeedbackStore(),
            AdapterStore(),
            settings=lambda: open_gate,
            runs_dir=Path(home) / "runs",
        )
        trainer.start()
        with closing(trainer):
            return _taught(client, trainer, chosen, name, settings)


def _taught(
    client: ChatClient,
    trainer: FeedbackTrainer,
    chosen: CorrectionSet,
    name: str,
    settings: TeachingSettings,
) -> Result:
    corrected = {question for item in chosen.items for question in (item.question, item.again)}
    known = [(question, answer) for question, answer in golden() if question not in corrected]
    before = ask(client, [question for question, _ in known])
    known = [pair for pair, given in zip(known, before, strict=True) if pair[1] == given]
    started_at = _correct(client, trainer, chosen)
    if not trainer.wait(LIMIT_SECONDS):
        raise SystemExit(f"{chosen.name}: no result after {LIMIT_SECONDS:g} s")
    record = trainer.trainings()[-1]
    if record.state != "live":
        raise SystemExit(f"{chosen.name}: {record.state}: {record.message}")
    first = client.answer([Turn("user", chosen.items[0].question)], max_new_tokens=MOST_TOKENS)
    seconds = time.monotonic() - started_at
    if first.adapter != record.adapter:
        raise SystemExit(f"{chosen.name}: {first.adapter} answered instead of {record.adapter}")
    same = ask(client, [item.question for item in chosen.items])
    again = ask(client, [item.again for item in chosen.items])
    after = ask(client, [question for question, _ in known])
    unaided = [
        (given, item.answer)
        for item, given in zip(chosen.items, again, strict=True)
        if item.again not in turned(item.question)
    ]
    asked = [(i.question, i.answer) for i in chosen.items]
    asked += [(i.again, i.answer) for i in chosen.items]
    return Result(
        settings=name,
        name=chosen.name,
        recalled=share(same, [item.answer for item in chosen.items]),
        kept=share(after, [answer for _, answer in known]),
        held_out=_held_out(known, after),
        reworded=share(again, [item.answer for item in chosen.items]),
        unaided=share([given for given, _ in unaided], [answer for _, answer in unaided]),
        seconds=seconds,
        refused=(record.after.recalled or 0.0) < settings.min_recalled
        or (record.after.kept or 0.0) < settings.min_kept,
        misses=tuple((q, a, g) for (q, a), g in zip(asked, same + again, strict=True) if g != a),
    )


def _held_out(known: Sequence[tuple[str, str]], after: Sequence[str]) -> float:
    items = [KnownAnswer(turns=[Turn("user", q)], answer=a, source="golden") for q, a in known]
    apart = {item.question for item in split_held_out(items)[1]}
    pairs = [(g, a) for (q, a), g in zip(known, after, strict=True) if q in apart]
    return share([given for given, _ in pairs], [answer for _, answer in pairs])


def _correct(client: ChatClient, trainer: FeedbackTrainer, chosen: CorrectionSet) -> float:
    """Rates the model's answers with the right ones; gives when the last was rated."""
    store = FeedbackStore()
    given = ask(client, [item.question for item in chosen.items])
    started_at = 0.0
    for index, (item, answer) in enumerate(zip(chosen.items, given, strict=True)):
        started_at = time.monotonic()
        store.add(
            RatedExample(
                id="",
                time=time.time(),
                turns=[Turn("user", item.question)],
                answer=answer,
                rating=RATINGS[index % len(RATINGS)],
                correction=item.answer,
            )
        )
        trainer.wake()
    return started_at


def ask(client: ChatClient, questions: Sequence[str]) -> list[str]:
    """The live model's greedy answers."""
    turns = [[Turn("user", question)] for question in questions]
    return client.answers(turns, adapter="live", max_new_tokens=MOST_TOKENS)


def share(given: Sequence[str], right: Sequence[str]) -> float:
    """Share of answers that are exactly right."""
    return sum(a == b for a, b in zip(given, right, strict=True)) / max(1, len(right))
