"""MiniLM on banking77: train, predict, merge, and equal predictions in plain transformers."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tui_trainer.cli import main
from tui_trainer.store.runs.run_folder import RunFolder, list_runs

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(1800)]

ALL = 77  # classes of the data set
JOB = """
name = "bank"
task = "classification"
model = {model}
[data]
train = "train.csv"
val_split = 0.1
[lora]
rank = {rank}
alpha = {alpha}
[training]
max_steps = {steps}
batch_size = {batch}
learning_rate = 2e-3
warmup_steps = 10
eval_every = {every}
"""


def part(source: Path, target: Path, classes: list[str], most: int) -> list[dict[str, str]]:
    """Write the first rows of these classes; `most` of each."""
    with source.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    chosen = [row for name in classes for row in [r for r in rows if r["category"] == name][:most]]
    with target.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ["text", "category"])
        writer.writeheader()
        writer.writerows(chosen)
    return chosen


FEW = {"rank": 8, "alpha": 16, "steps": 60, "batch": 16, "every": 30}
WHOLE = {"rank": 16, "alpha": 32, "steps": 1014, "batch": 32, "every": 85}


@pytest.mark.parametrize(
    ("classes", "most", "settings", "least"),
    [
        pytest.param(8, 40, FEW, 0.8, id="eight classes"),
        pytest.param(ALL, 10_000, WHOLE, 0.8, id="all classes", marks=pytest.mark.soak),
    ],
)
def test_a_classifier_from_training_to_plain_transformers(
    classes: int,
    most: int,
    settings: dict[str, int],
    least: float,
    minilm: Path,
    shared_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    data = shared_data / "banking77"
    with (data / "train.csv").open(newline="", encoding="utf-8") as stream:
        names = sorted({row["category"] for row in csv.DictReader(stream)})[:classes]
    part(data / "train.csv", tmp_path / "train.csv", names, most)
    truth = part(data / "test.csv", tmp_path / "test.csv", names, most)
    job = tmp_path / "job.toml"
    text = JOB.format(model=json.dumps(str(minilm)), **settings)
    job.write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert main.main(["train", str(job), "--headless"]) == 0
    run: RunFolder = list_runs(tmp_path / "runs")[0]
    out, merged = tmp_path / "predicted.csv", tmp_path / "merged"
    assert main.main(["predict", str(run.path), "test.csv", "-o", str(out)]) == 0
    assert main.main(["adapters", "add", str(run.path), "--name", "bank"]) == 0
    assert main.main(["adapters", "merge", "bank", str(merged)]) == 0
    with out.open(newline="", encoding="utf-8") as stream:
        found = list(csv.DictReader(stream))
    hits = [row["label"] == right["category"] for row, right in zip(found, truth, strict=True)]
    print(f"accuracy on {len(hits)} test rows: {sum(hits) / len(hits):.3f}")
    assert sum(hits) / len(hits) > least
    model = AutoModelForSequenceClassification.from_pretrained(merged).eval()
    tokenizer = AutoTokenizer.from_pretrained(merged)
    for row in found:
        with torch.no_grad():
            logits = model(**tokenizer(row["input"], return_tensors="pt")).logits[0]
        chances = torch.softmax(logits, dim=-1)
        assert model.config.id2label[int(chances.argmax())] == row["label"]
        assert float(chances.max()) == pytest.approx(float(row["probability"]), abs=1e-4)
