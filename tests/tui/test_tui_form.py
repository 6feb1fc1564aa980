"""The form's fields, made from the contracts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tui_trainer.contracts.job import Job
from tui_trainer.tui import formfields, preview
from tui_trainer.tui.preview import schedule_chart


@pytest.fixture
def texts(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "train.jsonl").write_text('{"text": "a"}\n')
    return {"name": "mine", "data.train": "train.jsonl", "training.max_steps": "100"}


def checked(texts: dict[str, str], folder: Path) -> Job:
    result = formfields.check(texts, folder)
    assert result.errors == {} and result.job is not None
    return result.job


def test_every_field_is_described_by_its_contract() -> None:
    fields = formfields.fields()
    assert len(fields) == sum(len(keys) for _title, keys in formfields.SECTIONS)
    assert all(field.description and field.needs and field.label for field in fields)
    scheduler = next(field for field in fields if field.key == "training.scheduler")
    assert {"constant", "linear", "cosine", "wsd"} < set(scheduler.choices)


def test_empty_fields_mean_the_defaults(texts: dict[str, str], tmp_path: Path) -> None:
    job = checked(texts, tmp_path)
    assert job.data.train == [str(tmp_path / "train.jsonl")]
    assert job.training.max_steps == 100 and job.lora.rank == 16


def test_there_and_back(texts: dict[str, str], tmp_path: Path) -> None:
    values = {"training.learning_rate": "1.23456789e-5", "lora.alpha": "8", "data.val_split": ".1"}
    job = checked({**texts, **values}, tmp_path)
    assert job.training.learning_rate == 1.23456789e-5
    assert checked(formfields.texts_of(job), Path("/")) == job


def test_several_files(texts: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "more.jsonl").write_text('{"text": "b"}\n')
    job = checked({**texts, "data.train": "train.jsonl, more.jsonl"}, tmp_path)
    assert len(job.data.train) == 2


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("training.batch_size", "0", "needs a whole number of at least 1"),
        ("training.batch_size", "2.5", "needs a whole number of at least 1"),
        ("training.learning_rate", "fast", "needs a number above 0"),
        ("training.learning_rate", "nan", "needs a number above 0"),
        ("training.learning_rate", "inf", "needs a number above 0"),
        ("lora.dropout", "1", "needs a number of at least 0 and below 1"),
        ("data.val_split", "1", "needs a number above 0 and below 1"),
        ("training.scheduler", "steep", "needs one of constant, cosine, cosine-restarts"),
        ("data.train", "", "needs a value"),
        ("data.train", "absent.jsonl", "absent.jsonl does not exist"),
        ("data.train", "train.txt", "is not one of the formats"),
        ("name", "../../x", "cannot be a folder's name"),
        ("model", "/no/such/model", "does not exist"),
    ],
)
def test_one_sentence_beside_the_field(
    texts: dict[str, str], tmp_path: Path, key: str, text: str, said: str
) -> None:
    result = formfields.check({**texts, key: text}, tmp_path)
    assert result.job is None and list(result.errors) == [key]
    assert said in result.errors[key] and "form:" not in result.errors[key]


def test_every_mistake_is_shown_at_once(texts: dict[str, str], tmp_path: Path) -> None:
    wrong = {"lora.rank": "0", "training.seed": "x"}
    assert formfields.check({**texts, **wrong}, tmp_path).errors.keys() == wrong.keys()


def test_exclusive_fields(texts: dict[str, str], tmp_path: Path) -> None:
    both = {"data.validation": "train.jsonl", "data.val_split": "0.1"}
    errors = formfields.check({**texts, **both}, tmp_path).errors
    assert "exclude each other" in errors["data.validation"]


def test_preview_draws_the_schedule(texts: dict[str, str], tmp_path: Path) -> None:
    job = checked({**texts, "training.learning_rate": "1e-3"}, tmp_path)
    spec = schedule_chart(job)
    (line,) = spec.lines
    assert line.x.tolist() == list(range(1, 101))
    assert line.y.max() == pytest.approx(1e-3) and line.y[-1] < 1e-5
    assert spec.title == "learning rate 1e-3"


def test_preview_follows_from_the_rows_without_a_number_of_steps(
    texts: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "some.jsonl"
    file.write_text('{"question": "a", "answer": "b"}\n' * 100)
    epochs = {
        **texts,
        "data.train": str(file),
        "training.max_steps": "",
        "training.epochs": "2",
        "training.batch_size": "5",
        "training.warmup_steps": "4",
        "training.scheduler": "wsd",
    }
    spec = schedule_chart(checked(epochs, tmp_path))
    assert spec.lines[0].x.tolist() == list(range(1, 41))
    assert spec.detail == "wsd, warmup 4 of about 40 steps"
    file.write_text('{"question": "a", "answer": "b"}\n' * 50)  # counted again
    assert len(schedule_chart(checked(epochs, tmp_path)).lines[0].x) == 20


def test_preview_says_what_it_lacks(
    texts: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs = {**texts, "training.max_steps": "", "training.epochs": "2"}
    monkeypatch.setattr(preview, "_COUNTED_BYTES", 1)
    assert "max steps" in schedule_chart(checked(epochs, tmp_path)).empty
    assert schedule_chart(None).lines == ()
