"""A folder of many tools' runs: each is recognised by its content, and listed once."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.watch.formats.encoders import event, history, scalar, tfevents, wandb_log
from tui_trainer.watch.formats import registry
from tui_trainer.watch.runs.run_summary import SummaryReader
from tui_trainer.watch.scan import Scanner

EVENTS = tfevents(*(event(1e9 + s, s, scalar("train/loss", float(s))) for s in range(1, 9)))
WANDB = wandb_log(*(history(s, train__loss=str(float(s))) for s in range(1, 9)))
STATE = json.dumps({"global_step": 8, "log_history": [{"step": 8, "loss": 8.0}]}).encode()
CSV = b"epoch,step,train_loss\n0,7,7.5\n0,8,8\n"
LINES = b'{"step":8,"loss":8.0}\n'


def put(path: Path, content: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def found(root: Path) -> dict[str, tuple[str, str]]:
    return {p.id: (p.kind, p.name) for p in Scanner(root).scan().locations.values()}


def one_of_each(root: Path) -> None:
    put(root / "hf" / "checkpoint-8" / "trainer_state.json", STATE)
    put(root / "hf" / "runs" / "Nov21_10-00-00_host" / "events.out.tfevents.1.x", EVENTS)
    put(root / "hf" / "checkpoint-8" / "config.json", b"{}")
    put(root / "old.json", STATE)
    put(root / "exp" / "lightning_logs" / "version_0" / "metrics.csv", CSV)
    put(root / "exp" / "lightning_logs" / "version_0" / "hparams.yaml", b"lr: 1\n")
    put(root / "tb" / "events.out.tfevents.1.x", EVENTS)
    put(root / "tb" / "metrics.csv", CSV)
    put(root / "tb" / "1795269510.68" / "events.out.tfevents.2.x", EVENTS)
    put(root / "wandb" / "offline-run-1-abc" / "run-abc.wandb", WANDB)
    put(root / "wandb" / "offline-run-1-abc" / "files" / "wandb-history.jsonl", LINES)
    (root / "wandb" / "latest-run").symlink_to(root / "wandb" / "offline-run-1-abc")
    put(root / "keras.csv", b"epoch,loss\n8,8\n")
    put(root / "log.jsonl", LINES)


def test_one_of_each(tmp_path: Path) -> None:
    one_of_each(tmp_path)
    put(tmp_path / "people.csv", b"name,age\nanna,3\n")
    put(tmp_path / "package.json", b'{"name": "x"}')
    put(tmp_path / "fake" / "events.out.tfevents.9.x", b"no events at all")
    put(tmp_path / "fake" / "run.wandb", b"no W&B")
    expected = {
        "hf": ("trainer_state", "hf"),
        "old.json": ("trainer_state", "old"),
        "exp/lightning_logs/version_0/metrics.csv": ("csv", "exp/version_0"),
        "tb": ("tensorboard", "tb"),
        "wandb/offline-run-1-abc/run-abc.wandb": ("wandb", "run-abc"),
        "keras.csv": ("csv", "keras"),
        "log.jsonl": ("jsonl", tmp_path.name),
    }
    assert found(tmp_path) == expected


def test_each_has_its_row_in_the_list(tmp_path: Path) -> None:
    one_of_each(tmp_path)
    for location in Scanner(tmp_path).scan().locations.values():
        reader = SummaryReader(location)
        reader.read()
        assert (reader.summary.step, reader.summary.loss) == (8, 8.0), location
        assert not reader.read(), "nothing changed"


def test_a_file_or_a_run_folder_as_the_root(tmp_path: Path) -> None:
    one_of_each(tmp_path)
    assert found(tmp_path / "hf") == {"hf": ("trainer_state", "hf")}
    assert found(tmp_path / "tb") == {"tb": ("tensorboard", "tb")}
    assert set(found(tmp_path / "hf" / "checkpoint-8").values()) == {
        ("trainer_state", "checkpoint-8")
    }  # fmt: skip
    file = tmp_path / "tb" / "events.out.tfevents.1.x"
    assert [kind for kind, _ in found(file).values()] == ["tensorboard"]
    for kind, name in (("csv", "keras.csv"), ("trainer_state", "old.json")):
        assert [k for k, _ in found(tmp_path / name).values()] == [kind]


def test_runs_appear_as_their_files_fill(tmp_path: Path) -> None:
    scanner = Scanner(tmp_path)
    files = {
        "a.csv": CSV, "b/events.out.tfevents.1.x": EVENTS, "c/run-c.wandb": WANDB,
        "d/checkpoint-8/trainer_state.json": STATE, "e.trainer_state.json": STATE,
    }  # fmt: skip
    for name in files:
        put(tmp_path / name)
    assert not scanner.scan().locations
    for done, (name, content) in enumerate(files.items()):
        put(tmp_path / name, content[:11])
        assert len(scanner.scan().locations) <= done + 1
        put(tmp_path / name, content)
        assert len(scanner.scan().locations) == done + 1
    shutil.rmtree(tmp_path / "d")
    assert len(scanner.scan().locations) == len(files) - 1


def test_what_did_not_change_is_not_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_of_each(tmp_path)
    for folder, _, files in os.walk(tmp_path):
        for name in (*files, "."):
            os.utime(Path(folder) / name, (1e9, 1e9))
    scanner = Scanner(tmp_path)
    first = scanner.scan()
    opened: list[str] = []
    opening = Path.open

    def noted(path: Path, *args: Any, **more: Any) -> Any:
        opened.append(str(path))
        return opening(path, *args, **more)

    monkeypatch.setattr(Path, "open", noted)
    monkeypatch.setattr(registry, "detect", noted)
    assert scanner.scan().locations == first.locations
    assert opened == []
