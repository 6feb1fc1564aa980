"""Classification: from texts with labels to a report and an adapter that a plain script loads."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import bases
from tui_trainer.engine.data import class_balance
from tui_trainer.engine.data.rows import Row
from tui_trainer.engine.data.tokens import token_table
from tui_trainer.engine.data.tokens.encoding import make_examples
from tui_trainer.engine.data.tokens.token_arrays import Tokens, pack
from tui_trainer.engine.validation import classification_metrics
from tui_trainer.store.runs.run_folder import RunFolder

Metrics = Callable[[RunFolder], dict[tuple[str, int], dict[str, Any]]]
WORDS = {"cat": "the cat sat on the mat", "dog": "the dog ran and ran", "9": "zzz 999 !!!"}
TRAINING = {"max_steps": 20, "eval_every": 10, "checkpoint_every": 10, "learning_rate": 2e-2}


def texts(count: int = 60) -> list[dict[str, Any]]:
    """Twice as many cats as dogs, and a few nines; no two texts are the same."""
    chance = random.Random(1)
    found = []
    for number in range(count):
        label = ("cat", "cat", "dog", "cat", "dog", "9")[number % 6]
        words = WORDS[label].split()
        text = f"{' '.join(chance.choices(words, k=6))} {chr(97 + number % 26)}{number}"
        found.append({"text": text, "category" if number % 2 else "label": label})
    return found


@pytest.fixture
def classify(make_run: Callable[..., RunFolder]) -> Callable[..., RunFolder]:
    def make(model: Path, **training: Any) -> RunFolder:
        return make_run(
            texts(),
            model=str(model),
            task="classification",
            training={**TRAINING, **training},
            data={"val_split": 0.3},
        )

    return make


@pytest.mark.parametrize("kind", ["encoder", "tiny_base"])
def test_a_run_learns_reports_and_leaves_a_classifier(
    kind: str,
    request: pytest.FixtureRequest,
    classify: Callable[..., RunFolder],
    run_engine: Callable[..., int],
    metrics: Metrics,
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    base = request.getfixturevalue(kind)
    folder = classify(base, max_steps=40, eval_every=20)
    assert run_engine(folder) == 0
    rows = metrics(folder)
    last = rows["eval", 40]
    assert last["val_accuracy"] > 0.8
    assert {"val_f1_macro", "val_precision_macro", "val_recall_macro"} <= last.keys()
    report = folder.evaluation()
    assert report is not None and report.best is not None
    assert report.labels == ["9", "cat", "dog"]
    assert (report.newest.step, report.newest.accuracy) == (40, last["val_accuracy"])
    best = min((rows["eval", step]["val_loss"], step) for step in (20, 40))
    assert (report.best.val_loss, report.best.step) == best
    warnings = [event.message for event in folder.events() if event.kind == "warning"]
    assert any("weighted by the square root of the inverse frequency" in text for text in warnings)

    # A plain script, as the adapter's README says.
    names = json.loads((folder.adapter_dir / "labels.json").read_text())["id2label"]
    model = AutoModelForSequenceClassification.from_pretrained(
        base, num_labels=len(names), id2label={int(i): name for i, name in names.items()}
    )
    tokenizer = AutoTokenizer.from_pretrained(base)
    model.config.pad_token_id = tokenizer.pad_token_id
    model = PeftModel.from_pretrained(model, str(folder.adapter_dir)).eval()
    right = 0
    for row in texts(18):
        with torch.no_grad():
            logits = model(**tokenizer(row["text"], return_tensors="pt")).logits
        name = model.config.id2label[int(logits.argmax())]
        right += name == (row.get("label") or row["category"])
    assert right >= 15
    card = (folder.adapter_dir / "README.md").read_text()
    assert "AutoModelForSequenceClassification" in card and "labels.json" in card


def test_rare_classes_are_repeated_on_request(
    encoder: Path, make_run: Callable[..., RunFolder], run_engine: Callable[..., int]
) -> None:
    folder = make_run(
        texts(),
        model=str(encoder),
        task="classification",
        training={**TRAINING, "max_steps": 2, "eval_every": 0},
        data={"val_split": 0.3, "balance": "oversample"},
    )
    assert run_engine(folder) == 0
    report = folder.data()
    assert report is not None
    most = max(label.train for label in report.labels)
    assert report.train.examples == 3 * most, "every class is as large as the largest"
    assert [round(label.train * label.copies) for label in report.labels] == [most] * 3
    assert {label.weight for label in report.labels} == {1.0}
    warnings = [event.message for event in folder.events() if event.kind == "warning"]
    assert any("rows of rarer classes repeated, up to" in text for text in warnings)


def test_stopped_and_resumed_a_classification_is_the_same(
    encoder: Path,
    classify: Callable[..., RunFolder],
    run_engine: Callable[..., int],
    metrics: Metrics,
) -> None:
    whole, parts = classify(encoder), classify(encoder)
    assert run_engine(whole) == run_engine(parts) == 0
    assert run_engine(parts, "--from", "step-00000010") == 0
    assert metrics(whole) == metrics(parts)
    for name in ("adapter_model.safetensors", "adapter_config.json", "labels.json"):
        assert (whole.adapter_dir / name).read_bytes() == (parts.adapter_dir / name).read_bytes()
    one, other = whole.evaluation(), parts.evaluation()
    assert one is not None and other is not None and other.best is not None
    assert one.newest.confusion == other.newest.confusion
    assert one.best is not None and one.best.step == other.best.step


def test_the_weighted_loss_equals_that_of_torch(
    encoder: Path,
    classify: Callable[..., RunFolder],
    run_engine: Callable[..., int],
    metrics: Metrics,
) -> None:
    """A first step's loss equals `cross_entropy(weight=...)` of the same base and head."""
    import torch

    from tui_trainer.engine import loop

    folder = classify(encoder, max_steps=1, batch_size=12, eval_every=0)
    seen: list[float] = []
    original = loop.forward_backward

    def look(session: Any, passes: Any) -> Any:
        examples = [example for group in passes for example in group]
        weight = torch.tensor([label.weight for label in session.dataset.report.labels])
        session.model.eval()
        with torch.no_grad():
            logits = torch.cat(
                [session.model(input_ids=torch.tensor([e.input_ids])).logits for e in examples]
            )
        goal = torch.tensor([e.label for e in examples])
        seen.append(float(torch.nn.functional.cross_entropy(logits, goal, weight=weight)))
        return original(session, passes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "forward_backward", look)
        assert run_engine(folder) == 0
    assert metrics(folder)["train", 1]["loss"] == pytest.approx(seen[0], abs=1e-4)


def test_scores_equal_those_computed_by_hand() -> None:
    confusion = np.array([[3, 1, 0, 0], [2, 2, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]])
    found = classification_metrics.score(confusion, ["a", "b", "never", "d"], step=7, loss=0.5)
    assert found.accuracy == pytest.approx(5 / 9)
    a, b, never, d = found.classes
    assert (a.precision, a.recall, a.f1, a.support) == pytest.approx((0.5, 0.75, 0.6, 4))
    assert (b.precision, b.recall, b.f1, b.support) == pytest.approx((2 / 3, 0.5, 4 / 7, 4))
    assert (never.f1, never.support, d.precision, d.recall) == (0, 0, 0, 0)
    assert found.f1_macro == pytest.approx((0.6 + 4 / 7 + 0) / 3)  # what never occurs is left out
    assert found.recall_macro == pytest.approx((0.75 + 0.5 + 0) / 3)
    assert found.confusion == confusion.tolist()


def test_rare_classes_are_weighted_or_repeated() -> None:
    weights = class_balance.class_weights([90, 10])
    assert weights[1] / weights[0] == pytest.approx(3.0)  # the root of 9
    assert 90 * weights[0] + 10 * weights[1] == pytest.approx(100)
    rows = [Row((), "t", 1.0, f"row {i}", "a" if i < 7 else "b") for i in range(10)]
    tokens = Tokens([[1, i] for i in range(10)], [[0, 0]] * 10, list(range(10)), 10)
    train = make_examples(rows, token_table.build([pack(tokens)]), {"a": 0, "b": 1})
    none = train[:0]
    repeated, report = class_balance.balance(train, none, ["a", "b"], "oversample", seed=1)
    assert [sum(e.label == c for e in repeated) for c in (0, 1)] == [7, 7]
    assert {e.input_ids[1] for e in repeated} == set(range(10))
    assert report[1].copies == pytest.approx(7 / 3, abs=1e-3)
    assert repeated == class_balance.balance(train, none, ["a", "b"], "oversample", seed=1)[0]
    same, report = class_balance.balance(train, none, ["a", "b"], "none", seed=1)
    assert same == train and [label.weight for label in report] == [1, 1]
    weighted, _ = class_balance.balance(train, none, ["a", "b"], "weight", seed=1)
    assert sum(e.weight for e in weighted) == pytest.approx(10)


@pytest.fixture
def word_encoder(shared_data: Path, tmp_path: Path) -> Path:
    """A random one-layer BERT over the words of banking77."""
    import csv

    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    with (shared_data / "banking77" / "train.csv").open(encoding="utf-8") as stream:
        trainer = trainers.WordLevelTrainer(special_tokens=special, min_frequency=2)
        words.train_from_iterator([row["text"] for row in csv.DictReader(stream)], trainer)
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")
    folder = tmp_path / "words"
    fast.save_pretrained(str(folder))
    return bases.save_model(
        "bert",
        folder,
        fast,
        seed=0,
        hidden_size=128,
        intermediate_size=128,
        num_hidden_layers=1,
        num_attention_heads=4,
        max_position_embeddings=128,
        initializer_range=0.1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


@pytest.mark.slow
def test_banking77_with_a_small_encoder(
    shared_data: Path,
    word_encoder: Path,
    tmp_path: Path,
    run_engine: Callable[..., int],
    metrics: Metrics,
) -> None:
    """77 intents: an encoder that knew nothing is right far more often than by chance (1.3 %)."""
    from tui_trainer.store import jobs
    from tui_trainer.store.runs import run_folder

    values = {
        "model": str(word_encoder),
        "task": "classification",
        "data": {
            "train": str(shared_data / "banking77" / "train.csv"),
            "validation": str(shared_data / "banking77" / "test.csv"),
            "max_length": 96,
        },
        "lora": {"rank": 32, "alpha": 64, "dropout": 0.0},
        "training": {
            "max_steps": 400,
            "batch_size": 32,
            "learning_rate": 3e-3,
            "eval_every": 100,
            "checkpoint_every": 200,
        },
    }
    folder = run_folder.create_run(tmp_path, jobs.check_job(values, tmp_path, "banking77"))
    assert run_engine(folder) == 0
    report, data = folder.evaluation(), folder.data()
    assert report is not None and report.best is not None and data is not None
    assert len(report.labels) == len(data.labels) == 77
    assert sum(map(sum, report.newest.confusion)) == data.validation.examples
    assert report.best.accuracy > 0.4
    assert report.best.f1_macro > 0.38
    assert metrics(folder)["eval", 400]["val_f1_macro"] == report.newest.f1_macro
    assert len(json.loads((folder.adapter_dir / "labels.json").read_text())["id2label"]) == 77


def test_a_perfect_evaluation_has_three_decimals() -> None:
    found = classification_metrics.score(np.diag([3, 2]), ["a", "b"], step=7, loss=0.5)
    expected = "val_loss 0.5000, accuracy 1.000, macro F1 1.000"
    assert classification_metrics.summary(found) == expected
