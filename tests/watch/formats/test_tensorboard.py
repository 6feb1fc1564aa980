"""TensorBoard's event files: several writers' layouts, restarts, and files that grow."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from tests.watch.formats.encoders import crc32c, event, field, frame, scalar, tensor, tfevents
from tests.watch.formats.reading import Points, drain, points, read_run
from tui_trainer.watch.formats.encodings import crc32c as crc32c_module
from tui_trainer.watch.formats.tensorboard import TensorBoardSource

DATA = Path(__file__).parent / "data"


def losses(*steps: int, start: float = 1e9, tag: str = "train/loss") -> list[bytes]:
    return [event(start + step, step, scalar(tag, float(step))) for step in steps]


def put(folder: Path, stamp: int, *events: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"events.out.tfevents.{stamp}.host.1.0"
    path.write_bytes(tfevents(*events))
    return path


def test_the_check_is_castagnolis() -> None:
    assert crc32c_module.crc32c(b"123456789") == crc32c(b"123456789") == 0xE3069283
    rows = np.frombuffer(b"123456789abcdefghi", np.uint8).reshape(2, 9)
    assert crc32c_module.crc32c_all(rows).tolist() == [
        crc32c_module.masked(crc32c(b"123456789")), crc32c_module.masked(crc32c(b"abcdefghi"))
    ]  # fmt: skip


def test_a_file_that_tensorboardx_wrote() -> None:
    view = read_run(DATA, "tensorboard")
    single = [(s * 10.0, float(np.float32(3 / (s + 1)))) for s in range(12)]
    assert points(view.train, "loss") == [*single, (120.0, -1.0)]
    rates = [(s * 10.0, float(np.float32(1e-4 * s))) for s in range(12)]
    assert points(view.train, "learning_rate") == rates
    found = [(s * 10.0, float(np.float32(2 / (s + 1)))) for s in (3, 7, 11)]
    assert points(view.evals, "val_loss") == found
    assert view.config == {"args.learning_rate": 0.0001, "args.output_dir": "out"}
    assert view.lacks == ("gradient norm", "state", "checkpoints")
    assert view.summary.tool == "TensorBoard"
    assert view.warnings == ()


def test_scalars_as_tensors(tmp_path: Path) -> None:
    put(tmp_path, 1, *(event(1e9, s, tensor("epoch_loss", s / 4)) for s in range(5)))
    assert points(read_run(tmp_path, "tensorboard").train, "loss") == [
        (s, s / 4) for s in range(5)
    ]  # fmt: skip


def test_what_is_no_number_is_passed_over(tmp_path: Path) -> None:
    picture = field(1, b"sample") + field(4, field(1, 8) + field(4, bytes(5000)))
    spectrum = field(1, b"weights") + field(5, field(1, 0.5))
    put(tmp_path, 1, event(1e9, 1, picture, spectrum), *losses(1, 2))
    view = read_run(tmp_path, "tensorboard")
    assert view.train.names() == ("loss",)
    assert view.warnings == ()


def test_a_restart_replaces_what_it_goes_back_over(tmp_path: Path) -> None:
    put(tmp_path, 1, *losses(1, 2, 3, 4, 5))
    again = [event(2e9 + s, s, scalar("train/loss", s + 100.0)) for s in (3, 4)]
    put(tmp_path, 2, *again)
    view = read_run(tmp_path, "tensorboard")
    assert points(view.train, "loss") == [(1, 1), (2, 2), (3, 103), (4, 104)]
    assert view.resumed_at == (3,)
    assert len(view.warnings) == 1 and "steps went back once" in view.warnings[0]


def test_metrics_with_clocks_of_their_own(tmp_path: Path) -> None:
    batches = losses(*range(0, 100, 10))
    epochs = [event(1e9 + 200 + s, s, scalar("reward", s / 2)) for s in range(3)]
    put(tmp_path, 1, *batches[:5], *epochs, *batches[5:])
    view = read_run(tmp_path, "tensorboard")
    assert points(view.train, "loss") == [(s, s) for s in range(0, 100, 10)]
    assert points(view.train, "reward") == [(0, 0), (1, 0.5), (2, 1)]
    assert view.resumed_at == ()


def test_two_writers_at_once(tmp_path: Path) -> None:
    put(tmp_path, 1, *losses(0, 2, 4, 6))
    put(tmp_path, 2, *losses(1, 3, 5, start=1e9 + 0.5))
    view = read_run(tmp_path, "tensorboard")
    assert points(view.train, "loss") == [(s, s) for s in range(7)]
    assert view.resumed_at == ()
    assert view.warnings == (
        "several processes wrote at once; of rows with one step the last one read is kept",
    )


def test_a_file_that_grows_byte_by_byte(tmp_path: Path) -> None:
    whole = tfevents(*losses(*range(1, 6)))
    path = tmp_path / "events.out.tfevents.1.x"
    source = TensorBoardSource(tmp_path)
    seen: list[Points] = []
    with path.open("wb", buffering=0) as file:
        for byte in whole:
            file.write(bytes([byte]))
            drain(source)
            seen.append(points(source.history.train.table(), "loss"))
    assert [len(found) for found in seen] == sorted(len(found) for found in seen)
    assert seen[-1] == [(s, s) for s in range(1, 6)]
    assert source.warnings() == []


def test_a_torn_end_is_reported_once_and_waits_for_the_rest(tmp_path: Path) -> None:
    path = put(tmp_path, 1, *losses(1, 2))
    rest = frame(losses(3)[0])
    with path.open("ab") as file:
        file.write(rest[:20])
    os.utime(path, (time.time() - 100,) * 2)
    source = TensorBoardSource(tmp_path)
    drain(source)
    assert source.warnings() == [f"{path.name}: the last record is cut off"]
    assert not source.settle()
    with path.open("ab") as file:
        file.write(rest[20:])
    drain(source)
    assert points(source.history.train.table(), "loss") == [(1, 1), (2, 2), (3, 3)]
    assert source.warnings() == []


@pytest.mark.parametrize("where", [40, 70, 100, 140])
def test_damage_is_skipped_and_reported(tmp_path: Path, where: int) -> None:
    path = put(tmp_path, 1, *losses(*range(1, 30)))
    data = bytearray(path.read_bytes())
    data[where] ^= 0x5A
    path.write_bytes(data)
    source = drain(TensorBoardSource(tmp_path))
    found = points(source.history.train.table(), "loss")
    assert set(found) < {(s, s) for s in range(1, 30)}
    assert len(found) >= 27
    assert len(source.warnings()) == 1 and "damaged" in source.warnings()[0]


def test_a_replaced_file_is_read_again(tmp_path: Path) -> None:
    put(tmp_path, 1, *losses(1, 2, 3))
    source = TensorBoardSource(tmp_path)
    drain(source)
    put(tmp_path, 1, *losses(7, 8, start=5e8))
    drain(source)
    assert points(source.history.train.table(), "loss") == [(7, 7), (8, 8)]
    assert source.warnings() == [
        "an event file was replaced or truncated, and all were read again"
    ]  # fmt: skip


def test_settings_of_lightning_stand_beside(tmp_path: Path) -> None:
    put(tmp_path, 1, *losses(1))
    (tmp_path / "hparams.yaml").write_text("lr: 0.001\nmodel:\n  layers: 2\nname: 'tiny'\n")
    config = read_run(tmp_path, "tensorboard").config
    assert config == {"hparams.lr": 0.001, "hparams.model.layers": 2, "hparams.name": "tiny"}
