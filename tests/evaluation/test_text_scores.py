"""Scores of answers against references."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_trainer.contracts.errors import UserError
from tui_trainer.evaluation import text_scores
from tui_trainer.evaluation.text_scores import exact_match, rouge_l, rouge_n, token_f1, tokens

SAME = [
    "The lamp is 12.5 km away.",
    "灯塔在北岸，高四十二米。",
    "とうだいは北にあります",
    "ประภาคารอยู่ทางเหนือ",
    "प्रकाशस्तंभ उत्तर में है",
    "المنارة في الشمال",
    "→",
    "x",
]


@pytest.mark.parametrize("text", SAME)
def test_identical_texts_of_every_script_have_the_full_score(text: str) -> None:
    assert rouge_l(text, text) == 1
    assert rouge_n(text, text, 1) == rouge_n(text, text, 2) == 1
    assert token_f1(text, text) == exact_match(text, text) == 1


def test_words_are_those_of_the_script() -> None:
    assert tokens("Don't stop, Zoë!") == ["don", "t", "stop", "zoë"]
    assert tokens("高 42 米") == ["高", "42", "米"]
    assert tokens("हिन्दी भाषा") == ["हिन्दी", "भाषा"]
    assert tokens("x高y") == ["x", "高", "y"]
    assert tokens("Ünïcode") == tokens("U\u0308ni\u0308code")


def test_exact_match_ignores_case_and_white_space_at_the_ends_only() -> None:
    assert exact_match("Paris", " paris\n") == 1
    assert exact_match("New York", "NewYork") == 0
    assert exact_match("Paris", "Paris.") == 0


def test_token_f1_of_hand_made_cases() -> None:
    assert token_f1("the cat sat", "a cat sat down") == pytest.approx(0.8)
    assert token_f1("Paris", "It is Paris") == pytest.approx(0.5)
    assert token_f1("Paris", "") == 0
    assert token_f1("the", "the") == 1


def test_rouge_of_hand_made_cases() -> None:
    # The example of Lin (2004), section 3: the longest common subsequence is "police the gunman".
    reference, answer = "police killed the gunman", "police kill the gunman"
    assert rouge_l(reference, answer) == pytest.approx(0.75)
    assert rouge_l(reference, "the gunman kill police") == pytest.approx(0.5)
    assert rouge_n(reference, answer, 2) == pytest.approx(1 / 3)
    assert rouge_n(reference, answer, 1) == pytest.approx(0.75)
    assert rouge_l("北岸的灯塔", "北岸有灯塔") == pytest.approx(0.8)


WORDS = st.lists(st.sampled_from("abcd"), max_size=7)


@given(WORDS, WORDS)
def test_rouge_l_equals_the_longest_common_subsequence(first: list[str], second: list[str]) -> None:
    def subsequences(words: list[str]) -> set[tuple[str, ...]]:
        return {
            chosen for size in range(len(words) + 1)
            for chosen in itertools.combinations(words, size)
        }  # fmt: skip

    longest = max(len(c) for c in subsequences(first) & subsequences(second))
    total = len(first) + len(second)
    expected = 2 * longest / total if total else 1.0
    assert rouge_l(" ".join(first), " ".join(second)) == pytest.approx(expected)


@given(st.text(), st.text())
def test_scores_are_shares_and_symmetric(first: str, second: str) -> None:
    for score in (token_f1, rouge_l, lambda a, b: rouge_n(a, b, 2)):
        assert 0 <= score(first, second) <= 1
        assert score(first, second) == score(second, first)
        assert score(first, first) == 1


def test_bleu_and_chrf_equal_sacrebleus() -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    references = ["The cat sat on the mat today.", "It rains in the north."]
    answers = ["The cat sat on a mat today.", "It is raining in the north."]
    expected = sacrebleu.corpus_bleu(answers, [references]).score
    assert text_scores.bleu(references, answers) == pytest.approx(expected)
    expected = sacrebleu.corpus_chrf(answers, [references]).score
    assert text_scores.chrf(references, answers) == pytest.approx(expected)
    chinese = ["灯塔在北岸，高四十二米。"]
    assert text_scores.bleu(chinese, chinese) == pytest.approx(100)
    other = ["灯塔在北岸，高四十米。"]
    assert 0 < text_scores.bleu(chinese, other) < 100


@pytest.mark.parametrize("metric", ["bleu", "chrf"])
def test_the_sums_of_a_corpus_give_its_score(metric: str) -> None:
    pytest.importorskip("sacrebleu")
    references = ["the lamp is on the northern cliff", "it is dark tonight", "a boat comes home"]
    answers = ["the lamp is on the cliff", "it is dark", "the boat comes home"]
    statistics, score = text_scores.corpus_statistics(metric, references, answers)
    sums = [float(sum(column)) for column in zip(*statistics, strict=True)]
    whole = text_scores.bleu if metric == "bleu" else text_scores.chrf
    assert score(sums) == pytest.approx(whole(references, answers))


def test_bleus_tokenizer_follows_the_script_of_the_references() -> None:
    assert text_scores.bleu_tokenizer(["The lamp", "北"]) == "13a"
    assert text_scores.bleu_tokenizer(["灯塔在北岸", "LED 灯"]) == "zh"
    assert text_scores.bleu_tokenizer(["とうだいは北"]) == "char"
    assert text_scores.bleu_tokenizer(["12"]) == "13a"


def test_without_sacrebleu_one_sentence_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sacrebleu", None)
    with pytest.raises(UserError, match=r"bleu needs sacrebleu; install with: pip install"):
        text_scores.bleu(["a"], ["a"])
