"""Scores of answers against references: exact match, token F1, ROUGE, BLEU and chrF.

Words are found by Unicode categories, so that the scores are right for every script: in scripts
that are written without spaces between words every character is a token.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from tui_trainer.contracts.errors import UserError

# Ranges of characters of scripts without spaces between words: Thai, Lao, Myanmar, Khmer,
# Hiragana and Katakana, and the Chinese characters with their extensions.
_UNSPACED = (
    (0x0E00, 0x0EFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x3005, 0x3007),
    (0x3040, 0x30FF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x323AF),
)
_CHINESE = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF))
_ARTICLES = frozenset({"a", "an", "the"})
SACREBLEU = "sacrebleu"
INSTALL = 'pip install "tui-trainer[train]"'


def tokens(text: str) -> list[str]:
    """Return the words of a text, case-folded and in Unicode's composed form (NFKC).

    A word is a run of letters, digits and their marks; a character of a script without spaces is
    a word of its own. A text without any has each visible character as a token, so that answers
    such as "→" can be compared too.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    found: list[str] = []
    inside = joined = False  # inside a word; whether the next letter belongs to it
    for character in folded:
        category = unicodedata.category(character)[0]
        if category == "M" and inside:  # a mark belongs to the character before it
            found[-1] += character
        elif category in "LN":
            alone = _in(character, _UNSPACED)
            if joined and not alone:
                found[-1] += character
            else:
                found.append(character)
            inside, joined = True, not alone
        else:
            inside = joined = False
    return found or [character for character in folded if not character.isspace()]


def exact_match(reference: str, answer: str) -> float:
    """Return 1.0 where the answer equals the reference apart from case and white space at its
    ends, else 0.0."""
    return float(_normal(reference) == _normal(answer))


def token_f1(reference: str, answer: str) -> float:
    """Return the F1 of the answer's tokens, as SQuAD measures it: English articles and punctuation
    do not count."""
    expected, given = _without_articles(tokens(reference)), _without_articles(tokens(answer))
    return _f_measure(sum((Counter(expected) & Counter(given)).values()), expected, given)


def rouge_n(reference: str, answer: str, n: int) -> float:
    """Return ROUGE-N's F-measure: of the n-grams of tokens that both have.

    Where both texts have fewer than `n` tokens, they are compared whole.
    """
    expected, given = tokens(reference), tokens(answer)
    size = max(1, min(n, max(len(expected), len(given))))
    first, second = _n_grams(expected, size), _n_grams(given, size)
    return _f_measure(sum((Counter(first) & Counter(second)).values()), first, second)


def rouge_l(reference: str, answer: str) -> float:
    """Return ROUGE-L's F-measure: of the longest common subsequence of tokens."""
    expected, given = tokens(reference), tokens(answer)
    return _f_measure(_common_subsequence(expected, given), expected, given)


def bleu_tokenizer(references: Sequence[str]) -> str:
    """Return the name of sacrebleu's tokenizer for these references: "13a", its default, "zh" for
    mostly Chinese text, "char" for other scripts without spaces."""
    letters = [c for text in references for c in text if unicodedata.category(c)[0] == "L"]
    unspaced = [c for c in letters if _in(c, _UNSPACED)]
    if 2 * len(unspaced) <= len(letters):
        return "13a"
    return "zh" if all(_in(c, _CHINESE) for c in unspaced) else "char"


def bleu(references: Sequence[str], answers: Sequence[str]) -> float:
    """Return the BLEU (0..100) of all answers together, by sacrebleu with `bleu_tokenizer`. Raises
    `UserError` where sacrebleu is not installed."""
    tokenizer = bleu_tokenizer(references)
    found = _sacrebleu("bleu").corpus_bleu(list(answers), [list(references)], tokenize=tokenizer)
    return float(found.score)


def chrf(references: Sequence[str], answers: Sequence[str]) -> float:
    """Return the chrF (0..100) of all answers together, by sacrebleu. Raises `UserError` where it
    is not installed."""
    return float(_sacrebleu("chrf").corpus_chrf(list(answers), [list(references)]).score)


def corpus_statistics(
    metric: str, references: Sequence[str], answers: Sequence[str]
) -> tuple[list[list[float]], Callable[[list[float]], float]]:
    """Return what "bleu" or "chrf" adds up over the answers, for each answer, and the function from
    the sums to the score (0..100). Raises `UserError` where sacrebleu is not installed."""
    package = _sacrebleu(metric)
    counter: Any = package.metrics.CHRF()
    if metric == "bleu":
        counter = package.metrics.BLEU(tokenize=bleu_tokenizer(references))
    # sacrebleu has no public name for these two; its own significance tests use them.
    statistics = counter._extract_corpus_statistics(list(answers), [list(references)])
    return statistics, lambda sums: float(counter._compute_score_from_stats(sums).score)


def has_sacrebleu() -> bool:
    """Whether sacrebleu can be imported."""
    import importlib.util

    return importlib.util.find_spec(SACREBLEU) is not None


def _sacrebleu(metric: str) -> Any:
    try:
        import sacrebleu  # takes a second, and is in the extra `train`
    except ImportError:
        raise UserError(f"{metric} needs sacrebleu; install with: {INSTALL}") from None
    return sacrebleu


def _normal(text: str) -> str:
    return unicodedata.normalize("NFC", text.strip().casefold())


def _in(character: str, ranges: Sequence[tuple[int, int]]) -> bool:
    point = ord(character)
    return any(first <= point <= last for first, last in ranges)


def _without_articles(found: list[str]) -> list[str]:
    """Return the tokens without articles; all of them where nothing else is there."""
    return [token for token in found if token not in _ARTICLES] or found


def _n_grams(found: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(found[at : at + n]) for at in range(len(found) - n + 1)]


def _f_measure(common: int, expected: Sequence[object], given: Sequence[object]) -> float:
    """Return the harmonic mean of precision and recall; 1 for two empty texts."""
    if not expected and not given:
        return 1.0
    return 2 * common / (len(expected) + len(given))


def _common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Return the length of the longest common subsequence, by the bit-parallel algorithm of Hyyrö
    (2004): a bit of `row` is 0 where the subsequence grows by that token of `second`."""
    places: dict[str, int] = {}
    for at, token in enumerate(second):
        places[token] = places.get(token, 0) | 1 << at
    full = (1 << len(second)) - 1
    row = full
    for token in first:
        matched = row & places.get(token, 0)
        row = ((row + matched) | (row - matched)) & full
    return len(second) - row.bit_count()
