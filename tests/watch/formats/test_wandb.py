"""W&B's offline files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.watch.formats.encoders import config, ending, field, history, run, wandb_log
from tests.watch.formats.reading import drain, points, read_run
from tui_trainer.watch.formats.wandb import WandbSource

DATA = Path(__file__).parent / "data"


def rows(*steps: int) -> list[bytes]:
    return [history(step, train__loss=str(float(step))) for step in steps]


def test_messages_that_wandbs_own_classes_made() -> None:
    view = read_run(DATA / "run-demo.wandb", "wandb")
    expected = [(float(s), -1.0 if s == 5 else 3 / (s + 1)) for s in range(20)]
    assert points(view.train, "loss") == expected
    assert points(view.evals, "val_loss") == [(s, 2 / (s + 1)) for s in (4, 9, 14, 19)]
    assert points(view.train, "deep.a") == [(s, s) for s in (4, 9, 14, 19)]
    assert points(view.train, "time") == [(s, 1790000000 + s) for s in range(20)]
    assert set(view.train.names()) == {"loss", "deep.a"}, "a picture is no metric"
    assert view.config == {"lr": 0.0002, "lora.r": 16}
    assert (view.summary.name, view.summary.status) == ("quiet-river", "failed")
    assert (view.summary.message, view.summary.created_at) == ("exit code 3", 1790000000)


@pytest.mark.parametrize(("code", "status"), [(0, "completed"), (1, "failed")])
def test_how_it_ended(tmp_path: Path, code: int, status: str) -> None:
    path = tmp_path / "run-x.wandb"
    path.write_bytes(wandb_log(run("x", 5, config("lr", "1e-3")), *rows(1), ending(code)))
    view = read_run(path, "wandb")
    assert view.summary.status == status
    assert view.config == {"lr": 0.001}
    path.write_bytes(wandb_log(*rows(1)))
    assert read_run(path, "wandb").summary.status == "unknown"


def test_records_over_several_blocks(tmp_path: Path) -> None:
    path = tmp_path / "run-x.wandb"
    long = history(2, train__loss="2.0", note=f'"{"x" * 100_000}"')
    path.write_bytes(wandb_log(*rows(1), long, *rows(*range(3, 900))))
    view = read_run(path, "wandb")
    assert points(view.train, "loss") == [(s, s) for s in range(1, 900)]
    assert view.warnings == ()


def test_a_loops_own_step_counts(tmp_path: Path) -> None:
    path = tmp_path / "run-x.wandb"
    made = [
        history(s, train__loss=str(s), train__global_step=str(s * 50), train__epoch="0.5")
        for s in range(4)
    ]
    path.write_bytes(wandb_log(*made))
    view = read_run(path, "wandb")
    assert points(view.train, "loss") == [(0, 0), (50, 1), (100, 2), (150, 3)]
    assert view.summary.epoch == 0.5


def test_a_file_that_grows(tmp_path: Path) -> None:
    whole = wandb_log(run("x", 5), *rows(*range(40)), ending(0))
    path = tmp_path / "run-x.wandb"
    source = WandbSource(path)
    with path.open("wb", buffering=0) as file:
        for at in range(0, len(whole), 7):
            file.write(whole[at : at + 7])
            drain(source)
    assert points(source.history.train.table(), "loss") == [(s, s) for s in range(40)]
    assert source.warnings() == []


def test_a_damaged_block_costs_its_rows_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "run-x.wandb"
    whole = bytearray(wandb_log(*rows(*range(3000))))
    assert len(whole) > 4 * 32768
    whole[40_000] ^= 255
    path.write_bytes(whole)
    source = drain(WandbSource(path))
    found = points(source.history.train.table(), "loss")
    assert set(found) < {(s, s) for s in range(3000)}
    assert (0, 0) in found and (2999, 2999) in found and len(found) > 1800
    assert len(source.warnings()) == 1 and "damaged" in source.warnings()[0]


def test_other_messages_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "run-x.wandb"
    path.write_bytes(wandb_log(field(7, field(1, 3)), *rows(1), field(4, b"output"), b"\xff\xff"))
    view = read_run(path, "wandb")
    assert points(view.train, "loss") == [(1, 1)]
    assert view.warnings == ("run-x.wandb: 1 record is damaged; left out",)
