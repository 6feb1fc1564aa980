"""Training tasks whose answer is in the question: copying, looking up, rewording, continuing.

From these the model learns to answer with words that it was not trained on, and so to learn new
facts quickly.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache

from tui_trainer.models.recipe.fact_world import load_toml, words
from tui_trainer.models.recipe.string_tasks import Strings

REPEAT = (
    "Repeat these words: {x}", "Repeat: {x}", "Say this: {x}", "Copy this text: {x}", "Say {x}",
    "Repeat after me: {x}", "Write exactly: {x}", "Please repeat these words: {x}", "Echo: {x}",
    "Answer with these words: {x}", "The answer is: {x}", "Write this down: {x}",
    "{x} Repeat that.",
)  # fmt: skip
WRAPS = (
    "Tell me: {q}", "Please answer: {q}", "Can you tell me: {q}", "{q} Please answer.",
    "Hello. {q}",
    "I would like to know: {q}", "Quick question: {q}", "{q} Do you know?", "Say, {q}", "Well, {q}",
    "Question: {q}", "{q} Tell me.", "I forgot: {q}", "Now tell me, {q}", "Do you know? {q}",
    "Remind me: {q}", "Could you say it again? {q}", "Hi! {q}", "{q} Thanks.", "Please, {q}",
    "{q} I need to know.", "Answer me: {q}", "I ask again: {q}", "One more time: {q}", "And {q}",
)  # fmt: skip
NOTES = (
    "{s}",
    "{s}",
    "{s}",
    "Remember: {s}",
    "Note: {s}",
    "Read this: {s}",
    "You should know: {s}",
)
NAMED_ROWS = ("days", "months", "numbers")
ROWS = (
    list("abcdefghijklmnopqrstuvwxyz"), [str(n) for n in range(1, 60)],
    [str(n) for n in range(0, 100, 2)], [str(n) for n in range(0, 100, 5)],
)  # fmt: skip


@dataclass(frozen=True)
class TaskTurn:
    """One turn of a conversation."""

    role: str  # system, user or assistant; or "text" for plain text outside a conversation
    text: str
    learned: bool = True  # whether an assistant's turn or a text counts in the loss


@dataclass(frozen=True)
class Relation:
    """A random fact."""

    statement: str
    wordings: tuple[str, ...]  # of its question
    answer: str


def ask(question: str, answer: str) -> list[TaskTurn]:
    """Return a conversation of one question and one answer."""
    return [TaskTurn("user", question), TaskTurn("assistant", answer)]


def capital(text: str) -> str:
    """Return the text with a capital first letter."""
    return text[:1].upper() + text[1:]


def wrap(question: str, rng: random.Random) -> str:
    """Return the question as a person may type it: with words around it, or carelessly."""
    roll = rng.random()
    if roll < 0.3:
        question = rng.choice(WRAPS).replace("{q}", question)
    elif roll < 0.4:
        question = question.lower()
    elif roll < 0.5:
        question = question.rstrip("?.")
    elif roll < 0.55:
        question = question[0].lower() + question[1:]
    return question


def relation(made: Strings) -> Relation:
    """Return a random fact of a random family of relations.toml."""
    rng = made.rng
    family = rng.choice(_families())
    verb = rng.choice(family["fill"].split(", "))
    # Without a full stop, which would be taken as the end of the statement.
    thing, answer = made.thing(), made.value(family["value"]).rstrip(".")

    def fill(template: str) -> str:
        filled = template.replace("{r}", verb).replace("{e}", thing).replace("{v}", answer)
        return capital(filled)

    wordings = [fill(w) for w in family["ask"]]
    rng.shuffle(wordings)
    # A statement that starts with an answer in lower case would change its capitalisation.
    states = [s for s in family["state"] if s[:3] != "{v}" or not answer[0].islower()]
    statement = fill(rng.choice(states))
    if answer[-1] in "!?":
        statement = statement.replace(answer + ".", answer)
    return Relation(statement, tuple(wordings), answer)


@cache
def _families() -> list[dict[str, str]]:
    families: list[dict[str, str]] = load_toml("relations.toml")["family"]
    return families


def copy(made: Strings, most: int = 8) -> list[TaskTurn]:
    """Make a task: repeat one to `most` items, or a phrase of plain words."""
    rng = made.rng
    if not made.unseen and rng.random() < 0.25:
        text = made.phrase(10)
    else:
        text = " ".join(made.item() for _ in range(rng.randint(1, most)))
    return ask(rng.choice(REPEAT).replace("{x}", text), text)


def look_up(made: Strings) -> list[TaskTurn]:
    """Make a task: answer from one to three facts in the same turn or in the system turn."""
    rng = made.rng
    facts = [relation(made) for _ in range(rng.choice((1, 2, 2, 3)))]
    asked = rng.choice(facts)
    stated = " ".join(f.statement for f in facts)
    stated = rng.choice(NOTES).replace("{s}", stated)
    question = wrap(asked.wordings[0], rng)
    if rng.random() < 0.25:
        return [TaskTurn("system", stated), *ask(question, asked.answer)]
    order = (stated, question) if rng.random() < 0.8 else (question, stated)
    return ask(" ".join(order), asked.answer)


def reworded(made: Strings) -> list[TaskTurn]:
    """Make a task: answer a question again that was answered earlier, in another wording."""
    rng = made.rng
    facts = [relation(made) for _ in range(rng.choice((1, 2, 2, 3, 4)))]
    turns: list[TaskTurn] = []
    for fact in facts:
        turns.append(TaskTurn("user", fact.wordings[0]))
        # The first answer cannot be known, so only the second is learned.
        turns.append(TaskTurn("assistant", fact.answer, learned=False))
    back = rng.choice(facts)
    return turns + ask(wrap(rng.choice(back.wordings[1:]), rng), back.answer)


def pick(made: Strings) -> list[TaskTurn]:
    """Make a task: name the first, last or next of a few words, join or count them."""
    rng = made.rng
    items = list(dict.fromkeys(made.item() for _ in range(rng.randint(2, 6))))
    text, index = " ".join(items), rng.randrange(len(items))
    forms = [
        (f"What is the first word of: {text}", items[0]),
        (f"What is the last word of: {text}", items[-1]),
        (f"How many words are in: {text}", words("numbers")[len(items)]),
        (f"Write with commas: {text}", ", ".join(items)),
    ]
    if index:
        forms.append((f"In {text}, what comes after {items[index - 1]}?", items[index]))
    return ask(*rng.choice(forms))


def continue_sequence(made: Strings) -> list[TaskTurn]:
    """Make a task: continue a sequence, or finish a sentence given before."""
    rng = made.rng
    if rng.random() < 0.5:
        row = rng.choice((*ROWS, *(list(words(group)) for group in NAMED_ROWS)))
        start, seen = rng.randrange(len(row) - 4), rng.randint(2, 3)
        shown, rest = row[start : start + seen], row[start + seen : start + seen + 3]
        if rest:
            return ask("Continue: " + " ".join(shown), " ".join(rest))
    text = made.phrase(9).split()
    cut = rng.randint(1, len(text) - 1)
    head, tail = " ".join(text[:cut]), " ".join(text[cut:])
    return ask(f"{' '.join(text)} Finish the sentence: {head}", tail)


def plain_text(made: Strings) -> list[TaskTurn]:
    """Return a few statements as plain text."""
    facts = [relation(made) for _ in range(made.rng.randint(1, 3))]
    closing = f" {facts[0].wordings[0]} {capital(facts[0].answer)}."
    text = " ".join(f.statement for f in facts)
    return [TaskTurn("text", text + (closing if made.rng.random() < 0.5 else ""))]


def all_words() -> str:
    """Return every plain word, for training the tokenizer."""
    groups = ("nouns", "adjectives", "verbs", "small", "names")
    return " ".join(" ".join(words(group)) for group in groups)
