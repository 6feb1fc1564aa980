"""Rewords questions, so that an answer is not tied to one exact wording.

Rules of English grammar rephrase a question (`Who bakes?`, `Name the person who bakes.`);
frames and careless typing apply to any language. Loose wordings keep the content words and
little else (`Which loaf rye top?`): they are not good English, but they tie the answer to the
subject of the question rather than to the words around it.
"""

from __future__ import annotations

import random
import re

from tui_trainer.evaluation.answer_matching import FUNCTION_WORDS, words

_FRAMES = (
    "Tell me: {q}",
    "Please answer: {q}",
    "{q} Please answer.",
    "Question: {q}",
    "{q} Tell me.",
    "I would like to know: {q}",
    "{q} Do you know?",
    "Can you tell me: {q}",
    "Hello. {q}",
)
_BE = "is|are|was|were"
_DO = "do|does|did|should|must|can|may|will"
# The form of a question as a pattern, and its rewordings: `<name>` is a group of the pattern.
_RULES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        rf"What (?P<do>{_DO}) (?P<who>I|we|you|they) (?P<rest>.+?) (?P<link>when|if) "
        r"(?P<clause>.+)",
        (
            "<Clause>. What <do> <who> <rest>?",
            "<Link> <clause>, what <do> <who> <rest>?",
            "<Clause>. What now?",
        ),
    ),
    (
        r"What happens (?P<link>when|if) (?P<clause>.+)",
        ("<Clause>. What happens?", "<Link> <clause>, what happens?"),
    ),
    (
        r"What (?:is|are) (?P<the>.+?) called",
        ("What is the name of <the>?", "How is <the> called?", "Tell me the name of <the>."),
    ),
    (
        r"What is the name of (?P<the>.+)",
        ("What is <the> called?", "How is <the> called?", "Tell me the name of <the>."),
    ),
    (
        r"What is the price of (?P<the>.+)",
        ("How much is <the>?", "How much does <the> cost?", "What does <the> cost?"),
    ),
    (
        r"How much (?:is (?P<a>.+)|does (?P<b>.+) cost)",
        ("What is the price of <a><b>?", "What does <a><b> cost?", "Tell me the price of <a><b>."),
    ),
    (
        r"Who (?:is|was) (?P<the>the .+)",
        ("Name <the>.", "What is the name of <the>?", "Which person is <the>?"),
    ),
    (
        rf"Who (?!(?:{_BE}|{_DO})\b)(?P<does>.+)",
        ("Which person <does>?", "Name the person who <does>.", "Who is it that <does>?"),
    ),
    (
        rf"Where (?P<be>{_BE}) (?P<the>.+?) (?P<done>kept|stored|put|placed|found)",
        ("Where can I find <the>?", "In which place <be> <the> <done>?", "Where <be> <the>?"),
    ),
    (
        rf"Where (?P<be>{_BE}) (?P<the>.+)",
        ("Where can I find <the>?", "In which place <be> <the>?", "Tell me where <the> <be>."),
    ),
    (
        rf"Where (?P<do>{_DO}) (?P<rest>.+)",
        ("In which place <do> <rest>?", "At what place <do> <rest>?"),
    ),
    (
        rf"(?:When|At what time|What time) (?P<do>{_BE}|{_DO}) (?P<rest>.+)",
        ("When <do> <rest>?", "At what time <do> <rest>?", "On what day <do> <rest>?"),
    ),
    (
        r"How many (?P<what>.+?) (?:are|is) (?P<place>(?:in|on|at|of) .+)",
        ("What is the number of <what> <place>?", "What number of <what> are <place>?"),
    ),
    (
        rf"How many (?P<what>.+?) (?P<do>{_DO}) (?P<rest>.+)",
        ("What number of <what> <do> <rest>?", "What is the number of <what>?"),
    ),
    (
        r"How many (?P<what>\w+) (?P<rest>.+)",
        ("What number of <what> <rest>?", "What is the number of <what> that <rest>?"),
    ),
    (rf"How long (?P<do>{_BE}|{_DO}) (?P<rest>.+)", ("For how long <do> <rest>?",)),
    (r"How often (?P<rest>.+)", ("How frequently <rest>?", "At what interval <rest>?")),
    (
        rf"How (?P<do>{_DO}) (?P<who>I|we|you|they) (?P<verb>.+)",
        (
            "In which way <do> <who> <verb>?",
            "In what way <do> <who> <verb>?",
            "What is the way to <verb>?",
        ),
    ),
    (
        rf"How (?P<do>{_BE}|{_DO}) (?P<rest>.+)",
        ("In which way <do> <rest>?", "In what way <do> <rest>?"),
    ),
    (
        r"(?:What|Which) (?P<kind>colou?r|size|shape|age|weight|height|length) is (?P<the>.+)",
        (
            "Which <kind> does <the> have?",
            "What is the <kind> of <the>?",
            "Tell me the <kind> of <the>.",
        ),
    ),
    (
        rf"(?:What|Which) (?P<kind>\w+) (?P<does>(?:{_BE}|{_DO}) .+|\w+s .+)",
        ("Which <kind> <does>?", "What <kind> <does>?"),
    ),
    (
        rf"What (?P<do>{_DO}) (?P<rest>.+)",
        ("Which thing <do> <rest>?", "What is it that <rest>?"),
    ),
    (
        r"What is (?P<the>the (?P<part>\w+) of (?P<whole>(?:the|our|my|your|his|her) .+))",
        (
            "What is <whole>'s <part>?",
            "Tell me <whole>'s <part>.",
            "Tell me <the>.",
            "Name <the>.",
            "<The> is what?",
        ),
    ),
    (
        rf"What (?P<be>{_BE}) (?P<the>.+)",
        ("Tell me <the>.", "Name <the>.", "<The> <be> what?", "Give <the>."),
    ),
    (
        r"What (?P<does>\w+s) (?P<rest>.+)",
        ("Which thing <does> <rest>?", "What is it that <does> <rest>?"),
    ),
    (r"May I (?P<do>.+)", ("Am I allowed to <do>?", "Is it fine to <do>?", "Can I <do>?")),
)
# A time or place at the end may also come first.
_LAST = re.compile(
    r"(?P<most>(?:What|Which|How|Who|Where) .+(?<! is| do)(?<! are)(?<! was)) "
    r"(?P<at>on|at|after|before|during|in|for) (?P<time>(?:(?:the|a|an|our|my) )?\w+(?: \w+)?)",
    re.IGNORECASE,
)
_COMPILED = tuple((re.compile(form, re.IGNORECASE), variants) for form, variants in _RULES)
_STARTS = (
    "What", "Which", "Who", "Where", "When", "How", "How many", "What is", "Which is", "Where is",
    "What do we", "How do we", "What should I", "Tell me", "Name", "Give", "What are",
)  # fmt: skip
_KEEP_FUNCTION_WORD = 0.5  # share of function words that are kept, at random
_DROP_CONTENT_WORD = 0.25  # probability that one of several content words is dropped
_SWAP_ENDS = 0.35  # probability that the end comes first
_CHANGE_S = 0.2  # probability that a content word gains or loses an s
# Longer questions are texts of their own, which frames do not vary enough.
_LONGEST = 200  # characters


def reworded(question: str, count: int, *, loose: bool = True) -> list[str]:
    """Up to `count` different wordings of a question, those by grammar first; deterministic.

    Without `loose` all are good English: a real base needs no other ones, and cannot learn an
    answer to a wording that has lost its subject.

    Questions of more than `_LONGEST` characters or of several lines give none.
    """
    if len(question) > _LONGEST or "\n" in question:
        return []
    generator = random.Random(question)  # noqa: S311
    variants, simple = turned(question), _framed(question)
    generator.shuffle(variants)
    generator.shuffle(simple)
    if not loose:
        subject = words(question) - FUNCTION_WORDS
        variants = [variant for variant in variants if subject <= words(variant)]
        return _distinct([*variants[: -(-count // 2)], *simple, *variants], question)[:count]
    chosen = [*variants[: -(-count // 3)], *simple[: count // 6]]
    chosen += [_loose(question, generator) for _ in range(2 * count)]
    return _distinct([*chosen, *simple], question)[:count]


def turned(question: str) -> list[str]:
    """The question rephrased by the first rule whose pattern matches."""
    bare = question.strip().rstrip("?.! ")
    variants = []
    last = _LAST.fullmatch(bare)
    if last:
        first = last["at"].capitalize()
        variants.append(f"{first} {last['time']}, {_lower_first(last['most'])}?")
    for form, fillings in _COMPILED:
        found = form.fullmatch(bare)
        if found:
            variants += [_filled(variant, found.groupdict("")) for variant in fillings]
            break
    return _distinct(variants, question)


def _filled(variant: str, parts: dict[str, str]) -> str:
    """Fills a template: `<Name>` is capitalised, `<name>` is unchanged."""
    for name, value in parts.items():
        variant = variant.replace(f"<{name}>", value)
        variant = variant.replace(f"<{name.capitalize()}>", value[:1].upper() + value[1:])
    return variant


def _framed(question: str) -> list[str]:
    bare = question.rstrip("?.! ")
    variants = [question.lower(), bare, _lower_first(question), bare.lower()]
    return variants + [frame.replace("{q}", question) for frame in _FRAMES]


def _loose(question: str, generator: random.Random) -> str:
    """The content words, a few function words, and a random beginning.

    On the development sets of `tests/benchmarks/teaching` reworded questions were answered as
    taught in 70 % of cases without loose wordings, in 87 % with them.
    """
    given = question.strip().rstrip("?.! ").split()
    content = [word for word in given if word.casefold().strip(",;:") not in FUNCTION_WORDS]
    if not content:
        return ""
    dropped = (
        generator.choice(content)
        if len(content) > 1 and generator.random() < _DROP_CONTENT_WORD
        else None
    )
    kept: list[str] = []
    for word in given:
        if word in content:
            if word != dropped:
                kept.append(_with_or_without_s(word) if generator.random() < _CHANGE_S else word)
        elif generator.random() < _KEEP_FUNCTION_WORD:
            kept.append(_lower_first(word))
    if len(kept) > 2 and generator.random() < _SWAP_ENDS:
        cut = generator.randrange(1, len(kept))
        kept = kept[cut:] + kept[:cut]
    english = given[0].casefold() in FUNCTION_WORDS
    start = generator.choice(_STARTS) if english and generator.random() < 0.7 else ""
    text = " ".join([start, *kept] if start else kept)
    return text[:1].upper() + text[1:] + generator.choice(("?", "?", "?", ".", ""))


def _with_or_without_s(word: str) -> str:
    return word[:-1] if word.endswith("s") else word + "s"


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def _distinct(variants: list[str], question: str) -> list[str]:
    return [
        variant for variant in dict.fromkeys(variants) if variant.strip() and variant != question
    ]
