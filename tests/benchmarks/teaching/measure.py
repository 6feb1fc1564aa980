"""Teaching one set of corrections as a user would, and what came of it."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tui_trainer.chat.client import ChatClient
from tui_trainer.contracts.teaching.feedback import RatedExample, Rating, Turn
from tui_trainer.contracts.teaching.training import TeachingSettings
from tui_trainer.evaluation import answer_matching, gate
from tui_trainer.store import paths
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.store.feedback.feedback_store import FeedbackStore
from tui_trainer.teaching import promotion_gate
from tui_trainer.teaching.context import TeachingContext
from tui_trainer.teaching.feedback_trainer import FeedbackTrainer
from tui_trainer.teaching.paraphrases import turned
from tui_trainer.teaching.retention.replay import split_held_out
from tui_trainer.teaching.retention.retained_questions import OwnQuestion, own_questions, read
from tui_trainer.teaching.retention.retention_set import OWN_TOKENS
from tui_trainer.teaching.training_queue import TrainingQueue
from tui_trainer.teaching.training_rows import KnownAnswer

MOST_TOKENS, FACT_TOKENS = 64, 48
FACTS = Path(__file__).with_name("facts.txt")
# No training of ten corrections takes so long, even on a busy machine.
LIMIT_SECONDS = 1800.0
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
    """Shares from 0 to 1; `held_out` is that of the answers that are never replayed (of a real base
    facts, `held_out_count` of which it answered rightly before), `unaided` that of the rewordings
    which no rule of the trainings produces.

    `divergence` in nats per token. `seconds` from the last rating to the first answer of the new
    adapter; `refused` says that the gate would not have let it go live.
    """

    settings: str
    name: str
    recalled: float
    kept: float
    held_out: float
    held_out_count: int
    divergence: float | None
    steps: int
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


@dataclass(frozen=True)
class Base:
    """A base and what it is asked before and after a training: `facts` are questions that it
    answers rightly, with their key facts, `exact` questions with its exact answers."""

    client: ChatClient
    answers: Path | None = None  # folder of its cached answers; None: nothing is cached
    exact: Sequence[tuple[str, str]] = ()
    facts: Sequence[OwnQuestion] = ()


def builtin(client: ChatClient) -> Base:
    """The built-in base with its own questions and answers."""
    lines = (paths.builtin_model() / "questions.jsonl").read_bytes().splitlines()
    rows = [msgspec.json.decode(line) for line in lines]
    return Base(client, exact=[(row["question"], row["answer"]) for row in rows])


def real(client: ChatClient, answers: Path) -> tuple[Base, float]:
    """A real base with facts that are never replayed, and the seconds that it took to answer the
    questions whose answers are retained: only the first training with a base asks them."""
    began = time.monotonic()
    answers.mkdir(parents=True, exist_ok=True)
    context = TeachingContext(
        client=client,
        feedback=FeedbackStore(answers),
        adapters=AdapterStore(answers / "adapters"),
        queue=TrainingQueue(answers),
        settings=TeachingSettings,
        runs_dir=answers,
        on_record=lambda _record: None,
        on_notice=print,
    )
    ask = context.asker(client.start(), live=False, max_new_tokens=OWN_TOKENS)
    ask([[Turn("user", item.text)] for item in own_questions()])
    seconds = time.monotonic() - began
    facts = read(FACTS)
    given = context.asker(client.start(), live=False, max_new_tokens=FACT_TOKENS)(
        [[Turn("user", item.text)] for item in facts]
    )
    return Base(client, answers / "answers", facts=_with_facts(facts, given)), seconds


@contextmanager
def _own_home(base: Base) -> Iterator[Path]:
    """A home folder for one training or chain, with what was measured of a real base before: its
    answers, and the cache of its input directions, which the trainings fill."""
    with tempfile.TemporaryDirectory(prefix="teaching-") as folder:
        home = Path(folder)
        os.environ["TUI_TRAINER_HOME"] = folder
        if base.answers is not None:
            shutil.copytree(base.answers, home / "teaching" / "answers")
            cache = base.answers.parent / "cache"
            cache.mkdir(exist_ok=True)
            (home / "cache").symlink_to(cache)
        yield home


def teach(base: Base, chosen: CorrectionSet, name: str, settings: TeachingSettings) -> Result:
    """One set through feedback, trigger, engine, gate and swap, in a home folder of its own."""
    base.client.use({}, {})
    with _own_home(base) as home:
        # The gate says what it thinks, but everything is let through, so as to be measured.
        open_gate = msgspec.structs.replace(
            settings, min_recalled=0.0, min_kept=0.0, min_own_kept=0.0
        )
        trainer = FeedbackTrainer(
            base.client,
            FeedbackStore(),
            AdapterStore(),
            settings=lambda: open_gate,
            runs_dir=home / "runs",
        )
        trainer.start()
        with closing(trainer):
            return _taught(base, trainer, chosen, name, settings)


@dataclass(frozen=True)
class Link:
    """One training of a chain; shares from 0 to 1 of what was taught by it, by the first one, by
    all so far, and of the facts that the base answered rightly."""

    name: str
    state: str
    steps: int
    recalled: float
    first: float
    all: float
    held_out: float
    divergence: float | None
    seconds: float


def chain(base: Base, sets: Sequence[CorrectionSet], settings: TeachingSettings) -> Iterator[Link]:
    """Teaches the sets one after the other, each training continuing the adapter before it."""
    client = base.client
    client.use({}, {})
    corrected = {q for chosen in sets for i in chosen.items for q in (i.question, i.again)}
    facts = [item for item in base.facts if item.text not in corrected]
    exact = [pair for pair in base.exact if pair[0] not in corrected]
    given = ask(client, [question for question, _ in exact])
    exact = [pair for pair, answer in zip(exact, given, strict=True) if pair[1] == answer]
    with _own_home(base) as home:
        trainer = FeedbackTrainer(
            client,
            FeedbackStore(),
            AdapterStore(),
            settings=lambda: settings,
            runs_dir=home / "runs",
        )
        trainer.start()
        with closing(trainer):
            for number, chosen in enumerate(sets, start=1):
                started_at = _correct(client, trainer, chosen)
                if not trainer.wait(LIMIT_SECONDS):
                    raise SystemExit(f"{chosen.name}: no result after {LIMIT_SECONDS:g} s")
                seconds = time.monotonic() - started_at
                record = trainer.trainings()[-1]
                recalled = [_recalled(client, done) for done in sets[:number]]
                after = ask(client, [question for question, _ in exact])
                yield Link(
                    name=chosen.name,
                    state=record.state,
                    steps=record.step,
                    recalled=recalled[-1],
                    first=recalled[0],
                    all=sum(recalled) / len(recalled),
                    held_out=len(_right(facts, client)) / len(facts)
                    if facts
                    else share(after, [answer for _, answer in exact]),
                    divergence=record.after.divergence,
                    seconds=seconds,
                )


def _recalled(client: ChatClient, chosen: CorrectionSet) -> float:
    given = ask(client, [item.question for item in chosen.items])
    return share(given, [item.answer for item in chosen.items])


def _right(facts: Sequence[OwnQuestion], client: ChatClient) -> list[OwnQuestion]:
    """The facts that the live model answers rightly."""
    return _with_facts(facts, ask(client, [item.text for item in facts], FACT_TOKENS))


def _with_facts(facts: Sequence[OwnQuestion], given: Sequence[str]) -> list[OwnQuestion]:
    return [
        item
        for item, answer in zip(facts, given, strict=True)
        if answer_matching.has_facts(item.facts, answer)
    ]


def _taught(
    base: Base,
    trainer: FeedbackTrainer,
    chosen: CorrectionSet,
    name: str,
    settings: TeachingSettings,
) -> Result:
    client = base.client
    corrected = {question for item in chosen.items for question in (item.question, item.again)}
    known = [pair for pair in base.exact if pair[0] not in corrected]
    before = ask(client, [question for question, _ in known])
    known = [pair for pair, given in zip(known, before, strict=True) if pair[1] == given]
    facts = [item for item in base.facts if item.text not in corrected]
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
    after_facts = ask(client, [item.text for item in facts], FACT_TOKENS)
    lost = [
        (item.text, " / ".join(item.facts), given)
        for item, given in zip(facts, after_facts, strict=True)
        if not answer_matching.has_facts(item.facts, given)
    ]
    unaided = [
        (given, item.answer)
        for item, given in zip(chosen.items, again, strict=True)
        if item.again not in turned(item.question)
    ]
    asked = [(i.question, i.answer) for i in chosen.items]
    asked += [(i.again, i.answer) for i in chosen.items]
    wrong = [(q, a, g) for (q, a), g in zip(asked, same + again, strict=True) if g != a]
    return Result(
        settings=name,
        name=chosen.name,
        recalled=share(same, [item.answer for item in chosen.items]),
        kept=share(after, [answer for _, answer in known]) if known else record.after.kept or 0.0,
        held_out=_held_out(known, after) if known else 1 - len(lost) / max(1, len(facts)),
        held_out_count=len(facts),
        divergence=record.after.divergence,
        steps=record.step,
        reworded=share(again, [item.answer for item in chosen.items]),
        unaided=share([given for given, _ in unaided], [answer for _, answer in unaided]),
        seconds=seconds,
        refused=bool(gate.below(promotion_gate.limits(record.before, record.after, settings))),
        misses=tuple(wrong + lost),
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
                base_model=client.model,
            )
        )
        trainer.wake()
    return started_at


def ask(client: ChatClient, questions: Sequence[str], tokens: int = MOST_TOKENS) -> list[str]:
    """The live model's greedy answers."""
    turns = [[Turn("user", question)] for question in questions]
    return client.answers(turns, adapter="live", max_new_tokens=tokens)


def share(given: Sequence[str], right: Sequence[str]) -> float:
    """Share of answers that are exactly right."""
    return sum(a == b for a, b in zip(given, right, strict=True)) / max(1, len(right))
