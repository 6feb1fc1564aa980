"""Job files: what works, and one clear sentence for what does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Job
from tui_trainer.store import jobs
from tui_trainer.store.toml import reading

ROW = {"question": "what?", "answer": "that"}


def write_job(folder: Path, text: str) -> Path:
    file = folder / "job.toml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.fixture
def data(write_rows: Callable[..., Path]) -> Path:
    return write_rows("train.jsonl", [ROW])


def test_paths_count_from_the_job_file_and_defaults_are_filled_in(
    tmp_path: Path, data: Path
) -> None:
    job = jobs.load_job(write_job(tmp_path, '[data]\ntrain = "train.jsonl"\n'))
    assert job.name == "job"
    assert job.model == "builtin"
    assert job.data.train == [str(data)]
    assert job.training.epochs == 3.0
    assert job.lora.target_modules == "all-linear"


def test_overrides_win_and_are_typed(tmp_path: Path, data: Path) -> None:
    file = write_job(tmp_path, '[data]\ntrain = "train.jsonl"\n')
    job = jobs.load_job(
        file, ["training.max_steps=40", "training.learning_rate=1e-3", "name=other", "lora.rank=4"]
    )
    assert (job.training.max_steps, job.training.learning_rate) == (40, 1e-3)
    assert (job.name, job.lora.rank) == ("other", 4)


BAD = [
    (
        '[data]\ntrain="train.jsonl"\n[training]\nlearing_rate=1\n',
        "did you mean training.learning_rate?",
    ),
    ('[data]\ntrain="train.jsonl"\nrank=4\n', "it belongs to lora.rank"),
    ('[data]\ntrain="train.jsonl"\nzzzzqq=4\n', "known keys here: train, validation"),
    (
        '[data]\ntrain="train.jsonl"\n[training]\nbatch_size=0\n',
        "job.toml, line 4: training.batch_size: a whole number of at least 1 is needed, not 0",
    ),
    (
        '[data]\ntrain="train.jsonl"\n[training]\nscheduler="cosin"\n',
        'job.toml, line 4: training.scheduler: "cosin" is not one of constant, linear, cosine, '
        'cosine-restarts, polynomial, wsd, inverse-sqrt; did you mean "cosine"?',
    ),
    (
        '[data]\ntrain="train.jsonl"\n[training]\nmax_steps="sixty"\n',
        'line 4: training.max_steps: a whole number of at least 1 is needed, not "sixty"',
    ),
    (
        '[data]\ntrain="train.jsonl"\n[lora]\nlearning_rte=1\n',
        "line 4: unknown key lora.learning_rte; did you mean training.learning_rate?",
    ),
    (
        "[data]\ntrain=[{path='train.jsonl'},\n  {path='train.jsonl', wieght=2}]\n",
        "unknown key data.train[1].wieght; did you mean data.train[1].weight?",
    ),
    ("# nothing\n[data]\nval_split=0.1\n", "job.toml, line 2: data.train is missing"),
    ('training=5\n[data]\ntrain="train.jsonl"\n', "training: a table of settings is needed, not 5"),
    (
        '[data]\ntrain="train.jsonl"\n[lora]\nrank_pattern={q="x"}\n',
        "line 4: lora.rank_pattern.q: a whole number",
    ),
    ('[data]\ntrain="absent.jsonl"\n', "absent.jsonl does not exist"),
    ('[data]\ntrain="empty.jsonl"\n', "empty.jsonl is empty"),
    ('[data]\ntrain="train.txt"\n', "is not one of the formats"),
    ("[data]\ntrain=[]\n", "the list is empty"),
    (
        '[data]\ntrain="train.jsonl"\nvalidation="train.jsonl"\nval_split=0.1\n',
        "exclude each other",
    ),
    ('name="x"\n', "the section [data]"),
    ("[data\n", "is not valid TOML"),
    ('model="./nowhere"\n[data]\ntrain="train.jsonl"\n', "does not exist; name a folder"),
    ('model="."\n[data]\ntrain="train.jsonl"\n', "has no config.json"),
]


@pytest.mark.parametrize(("text", "sentence"), BAD, ids=[case[1][:25] for case in BAD])
def test_mistakes(tmp_path: Path, data: Path, text: str, sentence: str) -> None:
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(UserError) as caught:
        jobs.load_job(write_job(tmp_path, text))
    message = str(caught.value)
    assert sentence in message
    assert str(tmp_path / "job.toml") in message
    assert "\n" not in message.replace("\\n", "")


def test_a_job_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        jobs.load_job(tmp_path / "no.toml")
    with pytest.raises(UserError, match="is a folder"):
        jobs.load_job(tmp_path)


@pytest.mark.parametrize("assignment", ["novalue", "=3", "a..b=1", "name.inner=1"])
def test_invalid_overrides_are_refused(tmp_path: Path, data: Path, assignment: str) -> None:
    file = write_job(tmp_path, 'name = "n"\n[data]\ntrain = "train.jsonl"\n')
    with pytest.raises(UserError, match="--set"):
        jobs.load_job(file, [assignment])


@pytest.mark.parametrize(
    ("assignments", "sentence"),
    [
        (
            ["training.scheduler=cosin"],
            '--set training.scheduler=cosin: training.scheduler: "cosin" is not one of',
        ),
        (["training.scheduler=cosin"], 'did you mean "cosine"?'),
        (["lora.rnk=4"], "--set lora.rnk=4: unknown key lora.rnk; did you mean lora.rank?"),
        (["training.max_steps=sixty"], "a whole number of at least 1 is needed, not"),
        (["training.batch_size=x", "training.batch_size=0"], "--set training.batch_size=0: "),
        (["data.train=absent.jsonl"], "--set data.train=absent.jsonl: data.train: "),
        ([f"training.max_steps={'9' * 5000}"], "training.max_steps: a whole number"),
        (["training.max_steps=0x" + "f" * 5000], "training.max_steps: the number is too large"),
        (["training.max_steps=" + "[" * 5000], "training.max_steps: a whole number"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_errors_of_an_override_name_it(
    tmp_path: Path, data: Path, assignments: list[str], sentence: str
) -> None:
    file = write_job(tmp_path, '[data]\ntrain = "train.jsonl"\n[training]\nbatch_size = 2\n')
    with pytest.raises(UserError) as caught:
        jobs.load_job(file, assignments)
    assert sentence in str(caught.value)
    assert "job.toml" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (f"# one\n[training]\nmax_steps = {'9' * 5000}\n", "line 3: a number has more than 4,300"),
        ("x = " + "[" * 50_000, "is nested too deeply"),
        ("x = [" + "{y=" * 20_000, "nested too deeply"),
    ],
    ids=["digits", "brackets", "tables"],
)
def test_a_text_that_python_cannot_read_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=r"job\.toml") as caught:
        jobs.load_job(write_job(tmp_path, text))
    assert sentence in str(caught.value)


def every_path(kind: type[msgspec.Struct]) -> list[list[str]]:
    """The keys of a record, and of the records in it."""
    found = []
    for field in msgspec.structs.fields(kind):
        found.append([field.encode_name])
        inner = field.type
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            found += [[field.encode_name, *path] for path in every_path(inner)]
    return found


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.datetimes()
    | st.just(5000).map(lambda digits: 10**digits) | st.just("9" * 5000),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(st.sampled_from(every_path(Job)), VALUES)
def test_any_value_of_a_key_is_one_sentence(path: list[str], value: object) -> None:
    values: dict[str, Any] = {}
    target = values
    for part in path[:-1]:
        target = target.setdefault(part, {})
    target[path[-1]] = value
    try:
        reading.convert(values, Job, "job")
    except UserError as error:
        assert len(str(error).splitlines()) == 1
        assert str(error).startswith("job: ")


@given(st.text() | st.text("[]{}=\"'.\n#ab1, "))
def test_any_text_is_one_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(UserError):
        jobs.load_job(file)


def every_key(kind: type[msgspec.Struct]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(kind)]


@given(st.sampled_from(every_key(Job)), st.integers(0, 20), st.sampled_from("abcdefgh"))
def test_a_misspelt_key_never_passes(key: str, position: int, letter: str) -> None:
    position = min(position, len(key))
    misspelt = key[:position] + letter + key[position:]
    with pytest.raises(UserError, match="unknown key"):
        reading.convert({"data": {"train": "x"}, misspelt: "v"}, Job, "job")


def test_a_byte_order_mark_before_a_job_is_accepted(tmp_path: Path, data: Path) -> None:
    file = write_job(tmp_path, '\ufeff[data]\r\ntrain = "train.jsonl"\r\n')
    assert jobs.load_job(file).data.train == [str(data)]


@pytest.mark.parametrize(
    ("encoding", "sentence"),
    [
        ("utf-16", "byte 1 is 0xFF), probably UTF-16: save it as UTF-8, or convert it with iconv"),
        ("latin-1", "byte 9 is 0xE4), probably Latin-1"),
    ],
)
def test_a_job_in_another_encoding_is_named(tmp_path: Path, encoding: str, sentence: str) -> None:
    file = tmp_path / "job.toml"
    file.write_bytes('name = "ä"\n'.encode(encoding))
    with pytest.raises(UserError) as caught:
        jobs.load_job(file)
    assert sentence in str(caught.value)
