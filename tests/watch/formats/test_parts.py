"""The small parts below the readers: messages, names, settings, rows."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.watch.formats.encoders import event, field, frame, scalar, tensor, varint
from tests.watch.formats.reading import points, read_run
from tui_trainer.watch.formats.encodings import protobuf
from tui_trainer.watch.formats.encodings.tfevents import Frames, hparams, read_event
from tui_trainer.watch.formats.record_columns import EVAL, RowBuilder, measure, number
from tui_trainer.watch.tables import metric_names
from tui_trainer.watch.tables.list_summary import spark, trend
from tui_trainer.watch.tables.metric_decoder import null_non_finite


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5))
def test_numbers_come_back(values: list[int]) -> None:
    message = b"".join(field(i + 1, value) for i, value in enumerate(values))
    assert [protobuf.signed(f[2]) for f in protobuf.fields(message)] == values


def test_a_number_without_an_end() -> None:
    for data in (b"\x80", b"\xff" * 11, b"\x0a\x05ab"):
        with pytest.raises(ValueError):
            list(protobuf.fields(data))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 60), st.binary(max_size=8), st.binary(max_size=80))
def test_an_event_of_any_bytes_is_an_event_or_none(at: int, put: bytes, other: bytes) -> None:
    whole = event(1e9, 3, tensor("loss", 1.5), scalar("x", 2.0))
    for data in (other, whole[:at] + put + whole[at:], whole[:at] + put + whole[at + len(put) :]):
        with contextlib.suppress(ValueError):
            read_event(data)


@given(st.integers(1, 400), st.integers(0, 2**40), st.floats(width=32, allow_nan=False))
def test_the_short_way_reads_what_the_long_way_does(length: int, step: int, value: float) -> None:
    tag = "t" * length
    found = read_event(event(1.5, step, scalar(tag, value)))
    assert found is not None
    assert (found.wall, found.step, found.values) == (1.5, step, [(tag, value)])


def test_frames_in_pieces_of_one_byte() -> None:
    frames, found = Frames(), []
    records = [b"", b"a", b"b" * 2000]
    for byte in b"".join(map(frame, records)):
        found += frames.feed(bytes([byte]))
    assert found == records and not frames.damaged


def test_hparams_of_a_session() -> None:
    def setting(name: str, value: bytes) -> bytes:
        return field(1, field(1, name.encode()) + field(2, value))

    session = setting("lr", field(2, 0.5)) + setting("opt", field(3, b"adam"))
    session += setting("fast", field(4, 1))
    content = field(1, field(1, b"hparams") + field(2, field(3, session)))
    assert dict(hparams(content)) == {"lr": 0.5, "opt": "adam", "fast": True}
    assert varint(300) == b"\xac\x02"


def test_two_names_of_one_thing_are_both_kept() -> None:
    naming = metric_names.MetricNames()
    naming.learn(["train_loss", "loss", "acc"])
    assert [naming(name) for name in ("loss", "train_loss", "acc", "Train/Loss")] == [
        "loss", "train_loss", "acc", "Train/Loss",
    ]  # fmt: skip
    assert metric_names.canonical("Loss/Train") == "loss"
    assert metric_names.canonical("lr-AdamW") == "learning_rate"
    assert metric_names.canonical("lr-AdamW/pg1") == "lr-AdamW/pg1"
    assert metric_names.is_eval("Accuracy/val") and not metric_names.is_eval("interval")


def test_rows_of_one_step_are_one() -> None:
    rows = RowBuilder()
    rows.add(1, [("loss", 2.0)], time=5.0)
    rows.add(1, [("lr", math.inf), ("val_loss", 3.0)], epoch=0.5)
    rows.add(2, [("loss", math.nan)])
    made = rows.take_rows()
    assert made is not None and made.kinds.tolist() == [1, EVAL, 1]
    assert made.columns["step"].tolist() == [1, 1, 2]
    assert made.columns["epoch"].tolist()[:2] == [0.5, 0.5]
    lr, loss = made.columns["lr"], made.columns["loss"]
    assert np.isnan(lr).all() and np.signbit(lr).tolist() == [False, True, True]
    assert loss[0] == 2 and np.signbit(loss).tolist() == [False, True, False]
    assert rows.take_rows() is None


def test_words_for_numbers() -> None:
    assert number("NaN") != number("NaN") and number("-Infinity") != number("x")
    assert number(True) is None and number("3") is None and number(10**400) != 1
    assert measure(None) != measure(None) and measure(2) == 2.0


@pytest.mark.parametrize("sign", ["", "-", "+"])
@pytest.mark.parametrize("name", ["nan", "NaN", "NAN", "inf", "Inf", "infinity", "Infinity"])
def test_every_reader_accepts_the_same_names_of_numbers_that_are_not_finite(
    tmp_path: Path, sign: str, name: str
) -> None:
    found = number(sign + name)
    assert found is not None and math.isnan(found)
    assert null_non_finite(f'{{"loss": {sign}{name}, "step": 3}}'.encode()) == (
        b'{"loss": null, "step": 3}'
    )
    log = tmp_path / "log.csv"
    log.write_text(f"step,loss\n1,2\n2,{sign}{name}\n")
    assert points(read_run(log, "csv").train, "loss") == [(1, 2), (2, -1)]  # -1: not finite


@pytest.mark.parametrize("text", ["", "nano", "info", "infin", "--inf", "3", "finance"])
def test_other_texts_are_no_numbers(text: str) -> None:
    assert number(text) is None
    line = f'{{"loss": "{text}", "note": "an {text}"}}'.encode()
    assert null_non_finite(line) == line


def test_curve_and_trend() -> None:
    assert spark(np.arange(48.0)) == tuple(np.arange(24) * 2 + 0.5)
    assert spark(np.empty(0)) == ()
    descending = np.concatenate([np.full(90, 9.0), np.full(15, 2.0), np.full(15, 1.0)])
    assert trend(descending) == -0.5
    assert trend(np.ones(3)) is None and trend(np.zeros(50)) is None
