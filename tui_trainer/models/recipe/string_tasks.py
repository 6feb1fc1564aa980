"""Random names, words, numbers and phrases, split into a trained and a held-out part."""

from __future__ import annotations

import random
import string
import zlib
from collections.abc import Callable

from tui_trainer.models.recipe.fact_world import words

CLOCK = ("{h}:{m}", "{h}:{m} am", "{h}:{m} pm", "{w} o'clock", "{h} am", "{h} pm", "half past {w}")
PLACES = (
    "in {}",
    "behind {}",
    "under {}",
    "near {}",
    "on {}",
    "beside {}",
    "above {}",
    "inside {}",
)


def held_out(item: str) -> bool:
    """Return whether an invented item is reserved for measuring: one in eight, by its checksum."""
    return zlib.crc32(item.lower().encode()) % 8 == 0


class Strings:
    """Makes random pieces of text from the random generator `rng`.

    With `unseen` invented items are those reserved for measuring, else only the others.
    """

    def __init__(self, rng: random.Random, *, unseen: bool = False) -> None:
        self.rng = rng
        self.unseen = unseen

    def _invent(self, draw: Callable[[], str]) -> str:
        """Draw items until one is on the right side of `held_out`."""
        while True:
            item = draw()
            if held_out(item) == self.unseen:
                return item

    def _syllables(self) -> str:
        count = self.rng.choice((1, 2, 2, 2, 3, 3, 4))
        return "".join(self._syllable() for _ in range(count))

    def _syllable(self) -> str:
        pick = self.rng.choice
        vowel = pick("aeiou") if self.rng.random() < 0.6 else pick(words("vowels"))
        return pick(words("onsets")) + vowel + (pick(words("codas")) if pick((0, 1)) else "")

    def _letters(self) -> str:
        alphabet = self.rng.choice(
            (string.ascii_lowercase, string.ascii_uppercase, string.ascii_letters)
        )
        return "".join(self.rng.choices(alphabet, k=self.rng.randint(2, 7)))

    def _number(self) -> str:
        digits = "".join(self.rng.choices(string.digits, k=self.rng.randint(1, 6)))
        return digits.lstrip("0") or "10"

    def _code(self) -> str:
        form = self.rng.choice(("LL-dd", "Ldd", "LLLd", "dd-dd", "ddd-dddd", "L-d", "d.d", "dL"))
        pools = {"L": string.ascii_uppercase, "d": string.digits}
        return "".join(self.rng.choice(pools[c]) if c in pools else c for c in form)

    def invented(self) -> str:
        """Return an invented word in lower case."""
        return self._invent(self._syllables)

    def letters(self) -> str:
        """Return 2 to 7 random letters."""
        return self._invent(self._letters)

    def number(self) -> str:
        """Return a number of 1 to 6 digits."""
        return self._invent(self._number)

    def code(self) -> str:
        """Return a short code such as `KX-40`."""
        return self._invent(self._code)

    def name(self) -> str:
        """Return a name, mostly an invented one."""
        if self.unseen or self.rng.random() < 0.7:
            return self.invented().capitalize()
        return self.rng.choice(words("names"))

    def person(self) -> str:
        """Return a name, sometimes with a title or a second name."""
        name = self.name()
        roll = self.rng.random()
        if roll < 0.25:
            return f"{name} {self.name()}"
        if roll < 0.35:
            return f"{self.rng.choice(('Captain', 'Doctor', 'Mrs', 'Mr', 'Old', 'Aunt'))} {name}"
        return name

    def word_number(self) -> str:
        """Return a number from one to twelve, in words."""
        return self.rng.choice(words("numbers")[1:13])

    def word(self) -> str:
        """Return a plain word of any group."""
        group = self.rng.choice(("nouns", "nouns", "adjectives", "verbs", "small", "names"))
        return self.rng.choice(words(group))

    def thing(self) -> str:
        """Return a thing of 1 to 4 words, with an article or a name."""
        noun, adjective = self.rng.choice(words("nouns")), self.rng.choice(words("adjectives"))
        forms = (
            f"the {noun}", f"the {adjective} {noun}", f"the {noun} of {self.name()}",
            f"{self.name()} {noun}", f"the {self.name()} {noun}", self.name(), self.name(),
            f"the {noun} {self.rng.choice(words('nouns'))}", f"our {noun}", f"a {adjective} {noun}",
            f"{noun} {self.number()}", f"{self.name()}'s {noun}", f"the {adjective} {self.name()}",
        )  # fmt: skip
        return self.rng.choice(forms)

    def phrase(self, most: int = 8) -> str:
        """Return 2 to `most` plain words, some invented, sometimes written as a sentence."""
        count = self.rng.randint(2, most)
        items = [self.name() if self.rng.random() < 0.1 else self.word() for _ in range(count)]
        text = " ".join(items)
        if self.rng.random() < 0.4:
            text = text[0].upper() + text[1:] + self.rng.choice((".", ".", "!", "?", ""))
        return text.replace(" and ", ", and ") if self.rng.random() < 0.3 else text

    def action(self) -> str:
        """Return an action, such as "ring the old bell twice"."""
        verb, noun = self.rng.choice(words("verbs")), self.rng.choice(words("nouns"))
        tail = self.rng.choice(("", "", " twice", f" near {self.thing()}", f" and {self.word()}",
                                f" before {self.hour()}", f" with {self.person()}"))  # fmt: skip
        middle = self.rng.choice(("the", "a", "the " + self.rng.choice(words("adjectives"))))
        return f"{verb} {middle} {noun}{tail}"

    def hour(self) -> str:
        """Return a time of day."""
        return self.rng.choice(CLOCK).format(
            h=self.rng.randint(1, 12), m=f"{self.rng.randint(0, 59):02d}", w=self.word_number()
        )

    def day(self) -> str:
        """Return a day or a date."""
        day, month = self.rng.choice(words("days")), self.rng.choice(words("months"))
        count = self.rng.choice(words("counts"))
        forms = (
            "on {d}",
            "every {d}",
            "{d} at {h}",
            "on the {n} of {m}",
            "the {n} of {m}",
            "in {m}",
        )
        return self.rng.choice(forms).format(d=day, m=month, n=count, h=self.hour())

    def amount(self) -> str:
        """Return a number with a unit."""
        return f"{self.value('number')} {self.rng.choice(words('units'))}"

    def place(self) -> str:
        """Return a location, such as "behind the old mill"."""
        return self.rng.choice(PLACES).format(self.thing())

    def value(self, kind: str) -> str:
        """Return an answer of the kind that a family of relations.toml asks for."""
        if kind == "number":
            return self.number() if self.rng.random() < 0.6 else self.word_number()
        if kind == "any":
            pick = self.rng.choice(("word", "word", "name", "thing", "number", "code", "phrase"))
        else:
            pick = {"time": "hour"}.get(kind, kind)
        made: str = getattr(self, pick)()
        return made

    def item(self) -> str:
        """Return an item to repeat."""
        makers: tuple[Callable[[], str], ...] = (
            self.invented,
            self.letters,
            self.number,
            self.code,
            self.name,
        )
        if not self.unseen:
            makers = (*makers, self.word, self.word, self.word)
        return self.rng.choice(makers)()
