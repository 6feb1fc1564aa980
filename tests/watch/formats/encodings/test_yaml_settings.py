"""Settings written as YAML: what loggers write, and what could do harm."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tests.watch.formats.reading import read_run
from tui_trainer.watch.formats.encodings.yaml_settings import parse_flat, read_flat


def test_the_yaml_that_loggers_write() -> None:
    content = (
        "# made by a logger\nlr: 1e-3\nbatch: 8\nname: 'a: b'\nempty: null\nflag: true\n"
        "model:\n  dims:\n  - 2\n  - 3\n  kind: tiny\nobject: !!python/object:x.Y\n  inner: 1\n"
        "last: word\n"
    )
    found = parse_flat(content)
    assert found.problem is None
    assert found.values == {
        "lr": 0.001, "batch": 8, "name": "a: b", "empty": None, "flag": True,
        "model.dims": [2, 3], "model.kind": "tiny", "object.inner": 1, "last": "word",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[0.9, 0.999]", [0.9, 0.999]),
        ("1e-3 # peak", 1e-3),
        ("-2.5E+4", -2.5e4),
        (".5", 0.5),
        ("1_000", 1000),
        ("0x1f", 31),
        ("-.inf", -math.inf),
        ("yes", True),
        ("{a: 1}", None),
        ("'1e-3'", "1e-3"),
        ("!!str 12", "12"),
        ("1:30", "1:30"),
        ("2026-01-02", "2026-01-02"),
        ("1.2.3", "1.2.3"),
        ("1e999", "1e999"),
        ("9" * 5000, "9" * 5000),
        ("!!python/name:torch.nn.ReLU ''", "torch.nn.ReLU"),
        ("!!python/tuple [1, 2]", [1, 2]),
        ("|\n  two\n  lines", "two\nlines"),
        ("!!python/object/apply:os.system ['false']", ["false"]),
    ],
)
def test_values_are_read_as_people_mean_them(text: str, value: Any) -> None:
    found = parse_flat(f"key: {text}")
    assert found.problem is None
    assert found.values == ({"key.a": 1} if value is None else {"key": value})


def test_aliases_and_merged_mappings() -> None:
    found = parse_flat("base: &b {lr: 1e-3, size: 2}\nnear:\n  <<: *b\n  size: 3\nsame: *b\n")
    assert found.problem is None
    assert found.values == {
        "base.lr": 1e-3, "base.size": 2, "near.lr": 1e-3, "near.size": 3,
        "same.lr": 1e-3, "same.size": 2,
    }  # fmt: skip


def laughs(count: int) -> str:
    lines = ["first: 1", "a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, count)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (laughs(12), "only the first 10,000 values are read"),
        ("first: 1\nb: &b " + "x" * 9000 + "\nc: [" + "*b, " * 9000 + "]", "10,000 values"),
        ("first: 1\ndeep: " + "[" * 60 + "]" * 60, "nested up to 50 deep"),
        ("first: 1\ndeep: " + "[" * 60_000, "nest"),  # the parser may have a limit of its own
        ("first: 1\nself: &s [*s]", "*s has no anchor before it"),
        ("first: 1\nsecond: [1, 2\nthird: 3", "line 3 is not YAML"),
        ("first: 1\nsecond: \x00", "not YAML"),
    ],
)
def test_what_cannot_be_read_is_named_and_the_rest_stays(content: str, problem: str) -> None:
    found = parse_flat(content)
    assert found.problem is not None and problem in found.problem
    assert "\x00" in content or found.values["first"] == 1
    assert len(repr(found.values)) < 2_000_000


def test_a_file_that_is_too_long_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "hparams.yaml"
    path.write_text("first: 1\n" + "# comment\n" * 40_000)
    found = read_flat(path)
    assert found.values == {"first": 1}
    assert found.problem == "hparams.yaml: only its first 256 KiB are read"
    assert read_flat(tmp_path / "absent.yaml").problem is None
    assert "a folder" in (read_flat(tmp_path).problem or "")


def test_a_run_names_settings_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,train_loss\n1,2.0\n2,1.5\n")
    (tmp_path / "hparams.yaml").write_text("lr: 1e-3\nbetas: [0.9\n")
    view = read_run(tmp_path / "metrics.csv", "csv")
    assert view.config["hparams.lr"] == 1e-3
    assert [one for one in view.warnings if "hparams.yaml: line 3 is not YAML" in one]
