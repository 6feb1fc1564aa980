"""The form's fields, made from the contracts."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tui_trainer.contracts.job import DataSource, Job
from tui_trainer.store import jobs
from tui_trainer.tui.new_run import fields as fields_module
from tui_trainer.tui.new_run import layout, schedule_preview
from tui_trainer.tui.new_run.schedule_preview import schedule_chart


@pytest.fixture
def texts(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "train.jsonl").write_text('{"text": "a"}\n')
    return {"name": "mine", "data.train": "train.jsonl", "training.max_steps": "100"}


def checked(texts: dict[str, str], folder: Path) -> Job:
    result = fields_module.check(texts, folder)
    assert result.errors == {} and result.job is not None
    return result.job


def test_every_field_is_described_by_its_contract() -> None:
    fields = fields_module.fields()
    assert len(fields) == sum(len(keys) for _title, keys in layout.SECTIONS)
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
    assert checked(fields_module.texts_of(job), Path("/")) == job


def test_several_files(texts: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "more.jsonl").write_text('{"text": "b"}\n')
    job = checked({**texts, "data.train": "train.jsonl, more.jsonl"}, tmp_path)
    assert len(job.data.train) == 2


def test_sources_with_weights(texts: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "more.jsonl").write_text('{"text": "b"}\n')
    for train in ("train.jsonl, more.jsonl weight=2.5", "more.jsonl  weight=2"):
        job = checked({**texts, "data.train": train}, tmp_path)
        weight = float(train.rpartition("=")[2])
        assert job.data.train[-1] == DataSource(path=str(tmp_path / "more.jsonl"), weight=weight)
        assert checked(fields_module.texts_of(job), Path("/")) == job
    for wrong in ("0", "-1", "e", "1e999"):
        wrong_texts = {**texts, "data.train": f"train.jsonl weight={wrong}"}
        assert "data.train" in fields_module.check(wrong_texts, tmp_path).errors


@pytest.mark.parametrize(
    ("key", "text", "messages"),
    [
        ("training.batch_size", "0", "needs a whole number of at least 1"),
        ("training.batch_size", "2.5", "needs a whole number of at least 1"),
        ("data.workers", "65", "needs a whole number of at least 0 and at most 64"),
        ("training.learning_rate", "fast", "needs a number above 0"),
        ("training.learning_rate", "nan", "needs a number above 0"),
        ("training.learning_rate", "inf", "needs a number above 0"),
        ("lora.dropout", "1", "needs a number of at least 0 and below 1"),
        ("data.val_split", "1", "needs a number above 0 and below 1"),
        ("training.scheduler", "steep", "needs one of constant, linear, cosine, cosine-restarts"),
        ("data.train", "", "needs a value"),
        ("data.train", "absent.jsonl", "absent.jsonl does not exist"),
        ("data.train", "train.txt", "is not one of the formats"),
        ("name", "../../x", "cannot be a folder's name"),
        ("model", "/no/such/model", "does not exist"),
    ],
)
def test_one_sentence_beside_the_field(
    texts: dict[str, str], tmp_path: Path, key: str, text: str, messages: str
) -> None:
    result = fields_module.check({**texts, key: text}, tmp_path)
    assert result.job is None and list(result.errors) == [key]
    assert messages in result.errors[key] and "form:" not in result.errors[key]


def test_a_warning_is_shown_beside_its_field(texts: dict[str, str], tmp_path: Path) -> None:
    values = {"training.learning_rate": "0.5", "training.warmup_steps": "200", "lora.alpha": "999"}
    result = fields_module.check({**texts, **values}, tmp_path)
    assert result.job is not None and result.warnings.keys() == values.keys()
    assert result.warnings["training.learning_rate"].startswith("0.5 is very high")
    assert result.warnings["training.warmup_steps"].startswith("200 is not less than the")
    assert result.warnings["lora.alpha"].startswith("lora.alpha / lora.rank")


def test_every_mistake_is_shown_at_once(texts: dict[str, str], tmp_path: Path) -> None:
    wrong = {"lora.rank": "0", "training.seed": "x"}
    assert fields_module.check({**texts, **wrong}, tmp_path).errors.keys() == wrong.keys()


def test_exclusive_fields(texts: dict[str, str], tmp_path: Path) -> None:
    both = {"data.validation": "train.jsonl", "data.val_split": "0.1"}
    errors = fields_module.check({**texts, **both}, tmp_path).errors
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
    assert spec.detail == "wsd, decay over 20 % of the steps, warmup 4 of about 40 steps"
    exact = schedule_chart(checked({**epochs, "training.decay_share": "0.125"}, tmp_path))
    assert exact.detail.startswith("wsd, decay over 12.5 % of the steps")
    file.write_text('{"question": "a", "answer": "b"}\n' * 50)  # counted again
    assert len(schedule_chart(checked(epochs, tmp_path)).lines[0].x) == 20


def test_the_preview_shows_what_is_missing(
    texts: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs = {**texts, "training.max_steps": "", "training.epochs": "2"}
    monkeypatch.setattr(schedule_preview, "_COUNTED_BYTES", 1)
    assert "max steps" in schedule_chart(checked(epochs, tmp_path)).empty
    assert schedule_chart(None).lines == ()


def test_preview_names_the_settings_of_the_scheduler(texts: dict[str, str], tmp_path: Path) -> None:
    half = []
    for power in ("1", "3"):
        values = {"training.scheduler": "polynomial", "training.scheduler_power": power}
        spec = schedule_chart(checked({**texts, **values}, tmp_path))
        assert spec.detail == f"polynomial, power {power}, warmup 10 of 100 steps"
        half.append(spec.lines[0].y[54])
    assert half[0] == pytest.approx(4 * half[1], rel=0.05)  # (1/2) ** 1 to (1/2) ** 3
    values = {"training.scheduler": "cosine-restarts", "training.scheduler_cycles": "3"}
    assert "3 cycles" in schedule_chart(checked({**texts, **values}, tmp_path)).detail


def test_choices_and_switches_reach_the_job(texts: dict[str, str], tmp_path: Path) -> None:
    values = {
        "task": "classification",
        "data.balance": "oversample",
        "training.optimizer": "sgd",
        "training.momentum": "0.9",
        "training.nesterov": "on",
        "training.precision": "bf16",
        "training.gradient_checkpointing": "on",
        "lora.rslora": "on",
        "lora.dora": "off",
        "lora.init": "pissa",
        "data.cache": "off",
        "data.workers": "2",
    }
    job = checked({**texts, **values}, tmp_path)
    assert (job.task, job.data.balance) == ("classification", "oversample")
    training = job.training
    assert (training.optimizer, training.momentum, training.nesterov) == ("sgd", 0.9, True)
    assert (training.precision, training.gradient_checkpointing) == ("bf16", True)
    assert (job.lora.rslora, job.lora.dora, job.lora.init) == (True, False, "pissa")
    assert (job.data.cache, job.data.workers) == (False, 2)
    assert checked(fields_module.texts_of(job), Path("/")) == job


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("all-linear", "all-linear"),
        ("q_proj", ["q_proj"]),
        ("q_proj, v_proj", ["q_proj", "v_proj"]),
        ("q_proj,v_proj", ["q_proj", "v_proj"]),
        ('["q_proj", "v_proj"]', ["q_proj", "v_proj"]),
        (r".*\.(q|v)_proj", r".*\.(q|v)_proj"),
    ],
)
def test_target_modules_are_names_or_one_pattern(
    texts: dict[str, str], tmp_path: Path, text: str, means: str | list[str]
) -> None:
    job = checked({**texts, "lora.target_modules": text}, tmp_path)
    assert job.lora.target_modules == means
    assert checked(fields_module.texts_of(job), Path("/")) == job


def test_fields_without_an_effect_are_hidden(texts: dict[str, str], tmp_path: Path) -> None:
    idle = {"training.momentum": "0.9", "training.scheduler_power": "x", "data.balance": "none"}
    acts = fields_module.effective({**texts, **idle})
    assert not acts & idle.keys() and "training.optimizer" in acts
    job = checked({**texts, **idle}, tmp_path)
    assert (job.training.momentum, job.data.balance) == (0.0, "weight")
    assert "training.momentum" in fields_module.effective({**idle, "training.optimizer": "rmsprop"})


def test_an_error_between_two_fields_is_shown_beside_one(
    texts: dict[str, str], tmp_path: Path
) -> None:
    values = {"training.optimizer": "sgd", "training.nesterov": "on"}
    errors = fields_module.check({**texts, **values}, tmp_path).errors
    assert "momentum above 0" in errors["training.nesterov"]


def test_settings_without_a_field_are_kept(texts: dict[str, str], tmp_path: Path) -> None:
    values = {
        "name": "old",
        "data": {"train": "train.jsonl"},
        "training": {"max_steps": 100},
        "advisor": {"hang_factor": 7.0},
    }
    (tmp_path / "train.jsonl").write_text('{"text": "a"}\n')
    base = jobs.check_job(values, tmp_path, "test")
    assert base.advisor is not None
    result = fields_module.check(fields_module.texts_of(base), Path("/"), base)
    assert result.job == base
    edited = fields_module.check(
        {**fields_module.texts_of(base), "lora.rank": "4"}, Path("/"), base
    )
    assert edited.job is not None
    assert (edited.job.lora.rank, edited.job.advisor) == (4, base.advisor)


@pytest.mark.parametrize(
    "prompts",
    [["Who, and why?"], ["What is rain?", "a | b"], ["[x]"], ["two\nlines"], [" spaced "], ['"q"']],
)
def test_sample_prompts_there_and_back(
    texts: dict[str, str], tmp_path: Path, prompts: list[str]
) -> None:
    base = checked(texts, tmp_path)
    job = msgspec.structs.replace(
        base, samples=msgspec.structs.replace(base.samples, prompts=prompts)
    )
    assert checked(fields_module.texts_of(job), Path("/")) == job


def test_a_prompt_is_typed_plainly_or_several_as_a_list(
    texts: dict[str, str], tmp_path: Path
) -> None:
    one = checked({**texts, "samples.prompts": "Who, and why?"}, tmp_path)
    assert one.samples.prompts == ["Who, and why?"]
    several = checked({**texts, "samples.prompts": '["a", "b"]'}, tmp_path)
    assert several.samples.prompts == ["a", "b"]
    wrong = fields_module.check({**texts, "samples.prompts": "[a, b"}, tmp_path)
    assert "needs a text, or a list" in wrong.errors["samples.prompts"]


def test_every_setting_is_in_the_form_or_kept() -> None:
    here = {field.key for field in fields_module.fields()}
    everything = set(fields_module._fields_of(Job, ""))
    others = {key for key in everything - here if not key.startswith("advisor")}
    assert others == {"training.early_stopping_metric"}, "the former name of best_metric"


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("q_proj=4", {"q_proj": 4}),
        (" q_proj = 4 ,v_proj=8", {"q_proj": 4, "v_proj": 8}),
        (r"layers\.(1|2){1,2}\.q=4, v=8", {r"layers\.(1|2){1,2}\.q": 4, "v": 8}),
    ],
)
def test_patterns_are_pairs(
    texts: dict[str, str], tmp_path: Path, text: str, means: dict[str, int]
) -> None:
    job = checked({**texts, "lora.rank_pattern": text, "lora.alpha_pattern": text}, tmp_path)
    assert job.lora.rank_pattern == job.lora.alpha_pattern == means
    assert checked(fields_module.texts_of(job), Path("/")) == job


@pytest.mark.parametrize(
    "text", ["q_proj", "q_proj=", "q=4 v", "q=0", "q=x", "=4", "q=1.5", "q=4=5"]
)
def test_invalid_pairs(texts: dict[str, str], tmp_path: Path, text: str) -> None:
    errors = fields_module.check({**texts, "lora.rank_pattern": text}, tmp_path).errors
    assert "name=number pairs" in errors["lora.rank_pattern"]


def test_changed_compares_values(texts: dict[str, str]) -> None:
    known = {field.key: field for field in fields_module.fields()}
    weight_decay = known["training.weight_decay"]
    assert not any(fields_module.changed(weight_decay, text) for text in ("", "0", "0.0", " 0e0 "))
    assert fields_module.changed(weight_decay, "0.01") and fields_module.changed(weight_decay, "x")
    assert fields_module.changed(known["data.replay"], "kept.jsonl")
