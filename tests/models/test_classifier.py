"""Classifiers: probabilities, and the merged model in plain transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.classifiers import LABELS, save_classifier
from tui_trainer.contracts.errors import UserError

TEXTS = ["the cat sat", "x", "a dog ran and ran and ran on the mat " * 3, "ünï cödé", "9"]


def plain_probabilities(model: Any, tokenizer: Any, texts: list[str]) -> list[list[float]]:
    import torch

    rows = []
    for text in texts:
        with torch.no_grad():
            ids = tokenizer(text, return_tensors="pt", truncation=True, max_length=128)
            logits = model(input_ids=ids["input_ids"]).logits
        rows.append(torch.softmax(logits[0].float(), dim=-1).tolist())
    return rows


@pytest.mark.parametrize("kind", ["encoder", "tiny_base"])
def test_batches_give_the_probabilities_of_plain_peft(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from tui_trainer.models import classifier
    from tui_trainer.models.base_identity import origin_of

    base = request.getfixturevalue(kind)
    folder = save_classifier(base, tmp_path / "adapter")
    monkeypatch.setattr(classifier, "PASS_TEXTS", 2)
    loaded = classifier.load_classifier(folder, origin_of(str(base)))
    finished: list[int] = []
    found = loaded.classify(TEXTS, finished.append)
    assert finished == [2, 4, 5]
    plain = AutoModelForSequenceClassification.from_pretrained(base, num_labels=len(LABELS))
    tokenizer = AutoTokenizer.from_pretrained(base)
    plain.config.pad_token_id = tokenizer.pad_token_id
    peft = PeftModel.from_pretrained(plain, str(folder)).eval()
    for one, expected in zip(found, plain_probabilities(peft, tokenizer, TEXTS), strict=True):
        assert one.values == pytest.approx(expected, abs=1e-5)
        assert sum(one.values) == pytest.approx(1)
    assert loaded.classify([]) == []


@pytest.mark.parametrize("kind", ["encoder", "tiny_base"])
def test_the_merged_model_loads_in_plain_transformers_with_equal_predictions(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from tui_trainer.models.base_identity import origin_of
    from tui_trainer.models.classifier import load_classifier
    from tui_trainer.models.classifier_merge import merge_classifier

    base = request.getfixturevalue(kind)
    folder = save_classifier(base, tmp_path / "adapter")
    origin, stages = origin_of(str(base)), list[str]()
    merge_classifier(origin, folder, tmp_path / "merged", stages.append)
    assert stages == ["loading the base", "merging", "writing the model"]
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged").eval()
    assert [model.config.id2label[index] for index in range(3)] == list(LABELS)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "merged")
    ours = load_classifier(folder, origin).classify(TEXTS)
    for one, plain in zip(ours, plain_probabilities(model, tokenizer, TEXTS), strict=True):
        assert one.values == pytest.approx(plain, abs=1e-5)
    with pytest.raises(UserError, match="not an empty folder"):
        merge_classifier(origin, folder, tmp_path / "merged", stages.append)


def test_a_text_longer_than_the_base_reads_is_cut_and_marked(encoder: Path, tmp_path: Path) -> None:
    from tui_trainer.models.base_identity import origin_of
    from tui_trainer.models.classifier import load_classifier

    folder = save_classifier(encoder, tmp_path / "adapter")
    loaded = load_classifier(folder, origin_of(str(encoder)))
    assert [one.cut for one in loaded.classify(["short", "cat " * 500])] == [False, True]


def test_passes_become_smaller_where_memory_runs_out(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tui_trainer.contracts.errors import NoMemoryError
    from tui_trainer.models.base_identity import origin_of
    from tui_trainer.models.classifier import Classifier, load_classifier

    folder = save_classifier(encoder, tmp_path / "adapter")
    loaded = load_classifier(folder, origin_of(str(encoder)))
    expected = [one.values for one in loaded.classify(TEXTS)]
    whole, most = Classifier._probabilities, 2

    def limited(self: Classifier, rows: Any) -> Any:
        if len(rows) > most:
            raise MemoryError
        return whole(self, rows)

    monkeypatch.setattr(Classifier, "_probabilities", limited)
    for one, values in zip(loaded.classify(TEXTS), expected, strict=True):
        assert one.values == pytest.approx(values, abs=1e-5)
    most = 0
    with pytest.raises(NoMemoryError, match="out of memory while a text of"):
        loaded.classify(TEXTS)


def test_a_classifier_that_cannot_be_used_is_an_error(encoder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    from tui_trainer.models.base_identity import origin_of
    from tui_trainer.models.classifier import load_classifier

    origin = origin_of(str(encoder))
    folder = save_classifier(encoder, tmp_path / "adapter")
    labels = (folder / "labels.json").read_text()
    (folder / "labels.json").unlink()
    with pytest.raises(UserError, match=r"labels\.json is missing"):
        load_classifier(folder, origin)
    assert load_classifier(folder, origin, LABELS).labels == list(LABELS)
    named = json.loads(labels)["id2label"]
    del named["2"]
    (folder / "labels.json").write_text(json.dumps({"id2label": named}))
    with pytest.raises(UserError, match="shape"):
        load_classifier(folder, origin)
    (folder / "labels.json").write_text(labels)
    tensors = load_file(folder / "adapter_model.safetensors")
    first = next(iter(tensors))
    tensors[first][0] = float("nan")
    save_file(tensors, folder / "adapter_model.safetensors")
    with pytest.raises(UserError, match="not finite"):
        load_classifier(folder, origin)
