"""Evaluation of a model on a file: losses as transformers has them, answers, classes, and what
an interrupted evaluation continues with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from tests.classifiers import save_classifier
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.evaluation import EvaluationProgress, EvaluationRequest
from tui_trainer.engine.measure import measure as module
from tui_trainer.engine.measure.measure import measure
from tui_trainer.evaluation import journal, metrics
from tui_trainer.evaluation.report import Scored

ROWS: list[dict[str, Any]] = [
    *({"question": f"what is {i}?", "answer": f"the cat {i} sat" * (1 + i % 3)} for i in range(5)),
    {"text": "a text without a question"},
    {
        "messages": [
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "two"},
            {"role": "user", "content": "three"},
            {"role": "assistant", "content": "four"},
        ]
    },
]
LABELS = ["cat", "dog", "fox"]


def write(file: Path, rows: list[dict[str, Any]]) -> str:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def request_of(folder: Path, base: Path, rows: list[dict[str, Any]] = ROWS, **more: Any) -> Any:
    fields: dict[str, Any] = {
        "model": str(base),
        "adapter": None,
        "task": "causal-lm",
        "files": [write(folder / "test.jsonl", rows)],
        "max_new_tokens": 6,
        "journal": str(folder / "journal.jsonl"),
    }
    return EvaluationRequest(**(fields | more))


def ignore(_: EvaluationProgress) -> None:
    pass


def test_loss_and_perplexity_equal_those_of_transformers(tmp_path: Path, tiny_base: Path) -> None:
    request = request_of(tmp_path, tiny_base)
    measure(request, ignore)
    scored = Scored(journal.read(Path(request.journal)), "causal-lm", metrics.LOSSES, [])

    tokenizer: Any = AutoTokenizer.from_pretrained(tiny_base)
    model: Any = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).eval()
    total, count = 0.0, 0
    for row in ROWS:
        if "text" in row:
            parts = [(row["text"] + "<|end|>", True)]
        else:
            turns = row.get("messages") or [
                {"role": "user", "content": row["question"]},
                {"role": "assistant", "content": row["answer"]},
            ]
            parts = []
            for turn in turns:
                asked = turn["role"] == "user"
                parts += [(f"<|{turn['role']}|>", False), (f"{turn['content']}<|end|>", not asked)]
        ids: list[int] = []
        labels: list[int] = []
        for text, learned in parts:
            own = tokenizer(text, add_special_tokens=False).input_ids
            ids += own
            labels += own if learned else [-100] * len(own)
        counted = sum(label != -100 for label in labels[1:])
        with torch.no_grad():
            loss = model(input_ids=torch.tensor([ids]), labels=torch.tensor([labels])).loss
        total, count = total + float(loss) * counted, count + counted
    assert scored.tokens == count
    assert scored.values["loss"] == pytest.approx(total / count, rel=1e-5)
    perplexity = float(torch.tensor(total / count, dtype=torch.float64).exp())
    assert scored.values["perplexity"] == pytest.approx(perplexity, rel=1e-5)


def test_the_last_answer_of_a_conversation_is_asked_for(tmp_path: Path, tiny_base: Path) -> None:
    request = request_of(tmp_path, tiny_base, losses=False)
    measure(request, ignore)
    found = journal.read(Path(request.journal))
    assert found.items[6].question == "three"
    assert found.items[6].reference == "four"
    assert found.items[5].reference is None
    assert sorted(found.answers) == [0, 1, 2, 3, 4, 6]
    assert not found.losses


def test_an_interrupted_evaluation_continues_with_what_it_lacks(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWERS_AT_ONCE", 2)
    monkeypatch.setattr(module, "PASS_TOKENS", 64)
    whole = request_of(tmp_path, tiny_base)
    measure(whole, ignore)

    other = request_of(tmp_path, tiny_base, journal=str(tmp_path / "other.jsonl"))

    def interrupt(progress: EvaluationProgress) -> None:
        if progress.phase == "answers" and progress.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(other, interrupt)
    before = journal.read(Path(other.journal))
    assert len(before.losses) == 7
    assert len(before.answers) == 2 or not before.answers
    seen: list[EvaluationProgress] = []
    measure(other, seen.append)
    assert {progress.phase for progress in seen} == {"answers"}
    assert journal.read(Path(other.journal)).answers == journal.read(Path(whole.journal)).answers

    def fail(*_: object) -> None:
        raise AssertionError("a complete evaluation loads no model")

    monkeypatch.setattr(module, "load_writer", fail)
    measure(other, ignore)


def test_a_golden_set_keeps_its_key_facts(tmp_path: Path, tiny_base: Path) -> None:
    rows = [{"question": "How high?", "answer": "42 m", "facts": ["42 m/42 metres", "m"]}]
    request = request_of(tmp_path, tiny_base, rows, golden=True, losses=False)
    measure(request, ignore)
    assert journal.read(Path(request.journal)).items[0].facts == ["42 m/42 metres", "m"]


def test_a_file_without_answers_is_one_sentence(tmp_path: Path, tiny_base: Path) -> None:
    request = request_of(tmp_path, tiny_base, [{"text": "only"}], needs_answers="bleu")
    with pytest.raises(UserError, match=r"test\.jsonl has no answers, which bleu needs"):
        measure(request, ignore)


def test_only_the_first_rows_are_measured_with_a_limit(tmp_path: Path, tiny_base: Path) -> None:
    request = request_of(tmp_path, tiny_base, limit=2, answers=False)
    measure(request, ignore)
    found = journal.read(Path(request.journal))
    assert sorted(found.losses) == [0, 1]
    assert found.start is not None
    assert found.start.notices == ["only the first 2 rows of 7 are measured (--limit)"]


@pytest.fixture
def classifier(encoder: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "classifier"
    torch.manual_seed(3)
    model: Any = AutoModelForSequenceClassification.from_pretrained(
        encoder,
        num_labels=3,
        id2label=dict(enumerate(LABELS)),
        label2id={label: at for at, label in enumerate(LABELS)},
    )
    model.save_pretrained(str(folder))
    tokenizer: Any = AutoTokenizer.from_pretrained(encoder)
    tokenizer.save_pretrained(str(folder))
    return folder


def test_classes_and_loss_equal_those_of_transformers(tmp_path: Path, classifier: Path) -> None:
    rows = [
        {"text": f"text {i} " + "x" * i, "label": label} for i, label in enumerate([*LABELS] * 2)
    ]
    rows.append({"text": "unknown", "label": "bus"})
    request = request_of(
        tmp_path, classifier, rows, task="classification", labels=LABELS, max_length=64
    )
    measure(request, ignore)
    found = journal.read(Path(request.journal))
    tokenizer: Any = AutoTokenizer.from_pretrained(classifier)
    model: Any = AutoModelForSequenceClassification.from_pretrained(classifier).eval()
    losses = []
    for number, row in enumerate(rows):
        with torch.no_grad():
            logits = model(**tokenizer(row["text"], return_tensors="pt")).logits[0]
        probabilities = logits.softmax(-1)
        line = found.classes[number]
        assert line.predicted == LABELS[int(logits.argmax())]
        assert line.probability == pytest.approx(float(probabilities.max()), rel=1e-4)
        if row["label"] in LABELS:
            losses.append(-float(probabilities[LABELS.index(row["label"])].log()))
            assert line.loss == pytest.approx(losses[-1], rel=1e-4)
        else:
            assert line.loss is None
    scored = Scored(found, "classification", metrics.CLASSES, LABELS)
    assert scored.values["loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-4)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"text": "a"}], r"needs the fields text and label"),
        ([{"text": "a", "label": "bus"}], r"no row has a class that the model was trained on"),
    ],
)
def test_rows_that_a_classifier_cannot_be_measured_on_are_one_sentence(
    tmp_path: Path, classifier: Path, rows: list[dict[str, Any]], message: str
) -> None:
    request = request_of(tmp_path, classifier, rows, task="classification", labels=LABELS)
    with pytest.raises(UserError, match=message):
        measure(request, ignore)


def test_a_classifiers_adapter_with_values_that_are_not_finite_is_refused(
    encoder: Path, tmp_path: Path
) -> None:
    folder = save_classifier(encoder, tmp_path / "pets", LABELS)
    file = folder / "adapter_model.safetensors"
    tensors = load_file(file)
    next(iter(tensors.values()))[0] = float("nan")
    save_file(tensors, file)
    rows = [{"text": "a cat", "label": "cat"}]
    request = request_of(
        tmp_path, encoder, rows, task="classification", labels=LABELS, adapter=str(folder)
    )
    with pytest.raises(UserError, match="values that are not finite numbers"):
        measure(request, ignore)
