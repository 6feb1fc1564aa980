"""Which files and folders are runs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tui_trainer.watch import scan
from tui_trainer.watch.scan import Scanner, holds_metrics

METRICS = '{"step":1,"loss":2.5}\n'


def put(path: Path, content: str = METRICS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def found(root: Path) -> dict[str, tuple[str, str]]:
    return {p.id: (p.kind, p.name) for p in Scanner(root).scan().locations.values()}


def test_our_folders_and_other_peoples_files(tmp_path: Path) -> None:
    put(tmp_path / "a" / "run.json", "{}")
    put(tmp_path / "a" / "metrics.jsonl")
    put(tmp_path / "deep" / "er" / "log.ndjson")
    put(tmp_path / "deep" / "gpt2.metrics.jsonl")
    put(tmp_path / "data.jsonl", '{"question":"1+1","answer":"2"}\n' * 9)
    put(tmp_path / "ids.jsonl", '{"id":1,"label":3}\n')
    assert found(tmp_path) == {
        "a": ("run", "a"),
        "deep/er/log.ndjson": ("jsonl", "er"),
        "deep/gpt2.metrics.jsonl": ("jsonl", "gpt2"),
    }


def test_nothing_is_looked_for_inside_runs_checkpoints_and_hidden_folders(tmp_path: Path) -> None:
    put(tmp_path / "a" / "run.json", "{}")
    put(tmp_path / "a" / "state.json", "{}")
    for inside in ("a/logs", ".hidden", "checkpoints/x", "checkpoint-500", "b/1/2/3/4"):
        put(tmp_path / inside / "log.jsonl")
    put(tmp_path / "b" / "1" / "2" / "3" / "log.jsonl")
    assert set(found(tmp_path)) == {"a", "b/1/2/3/log.jsonl"}


def test_another_tools_run_json_is_no_run_of_ours(tmp_path: Path) -> None:
    put(tmp_path / "a" / "run.json", '{"tool":"other"}')
    put(tmp_path / "a" / "log.jsonl")
    assert set(found(tmp_path)) == {"a/log.jsonl"}


def test_a_run_folder_or_a_file_as_the_root(tmp_path: Path) -> None:
    put(tmp_path / "a" / "run.json", "{}")
    put(tmp_path / "a" / "metrics.jsonl")
    assert found(tmp_path / "a") == {"a": ("run", "a")}
    assert found(tmp_path / "a" / "metrics.jsonl") == {"metrics.jsonl": ("jsonl", "a")}
    stepless = put(tmp_path / "keras.jsonl", '{"loss":1.0}\n')
    assert found(stepless) == {"keras.jsonl": ("jsonl", "keras")}


def test_roots_that_cannot_be_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = Scanner(tmp_path / "no").scan()
    assert (
        missing.problem == f"{tmp_path / 'no'} does not exist; its runs appear once it is created"
    )
    text = put(tmp_path / "note.txt", "hello\n")
    assert "contains no metrics" in str(Scanner(text).scan().problem)
    os.mkfifo(tmp_path / "pipe")
    assert "neither a folder" in str(Scanner(tmp_path / "pipe").scan().problem)

    def refuse(path: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    assert Scanner(tmp_path).scan().problem == f"{tmp_path} cannot be read: Permission denied"


def test_an_unreadable_folder_below_is_reported_and_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "a" / "log.jsonl")
    put(tmp_path / "closed" / "log.jsonl")
    listing = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return listing(path)

    monkeypatch.setattr(os, "scandir", refuse)
    scanner = Scanner(tmp_path)
    for _ in range(2):
        result = scanner.scan()
        assert [location.id for location in result.locations.values()] == ["a/log.jsonl"]
        assert result.warnings == (f"{tmp_path / 'closed'} cannot be read: Permission denied",)


def test_loops_of_links_end(tmp_path: Path) -> None:
    put(tmp_path / "a" / "log.jsonl")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    (tmp_path / "again").symlink_to(tmp_path / "a")
    assert len(found(tmp_path)) == 1


def test_a_linked_folder_of_runs_is_followed(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere" / "log.jsonl")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "elsewhere")
    assert set(found(tmp_path / "root")) == {"link/log.jsonl"}


def test_what_comes_and_goes_is_seen(tmp_path: Path) -> None:
    scanner = Scanner(tmp_path)
    assert not scanner.scan().locations
    log = put(tmp_path / "x" / "log.jsonl", "")
    assert not scanner.scan().locations
    log.write_text(METRICS)
    assert len(scanner.scan().locations) == 1
    put(tmp_path / "x" / "run.json", "{}")
    put(tmp_path / "x" / "state.json", "{}")
    assert [location.kind for location in scanner.scan().locations.values()] == ["run"]
    (tmp_path / "x" / "run.json").unlink()
    assert [location.kind for location in scanner.scan().locations.values()] == ["jsonl"]
    log.unlink()
    assert not scanner.scan().locations


def test_an_unchanged_folder_is_not_listed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "x" / "log.jsonl")
    for folder in (tmp_path, tmp_path / "x"):
        os.utime(folder, (1e9, 1e9))
    scanner = Scanner(tmp_path)
    first = scanner.scan()
    listed: list[str] = []
    listing = os.scandir

    def noted(path: Any) -> Any:
        listed.append(str(path))
        return listing(path)

    monkeypatch.setattr(os, "scandir", noted)
    assert scanner.scan().locations == first.locations
    assert listed == [str(tmp_path)]  # only whether the root can be read


def test_the_number_of_folders_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "MOST_FOLDERS", 5)
    for index in range(10):
        put(tmp_path / f"d{index}" / "log.jsonl")
    result = Scanner(tmp_path).scan()
    assert len(result.locations) == 4
    assert result.warnings == ("more than 5 folders; the others are not searched",)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"", False),
        (METRICS.encode(), True),
        (b'{"step":1,"loss":2', False),
        (b'{"step":1,"loss":2}', True),
        (b'{"step":1,"loss":NaN}\n{"step":2,"loss":1}\n', True),
        (b'{"step":1,"loss":NaN}\n', False),
        (b'{"step":1,"time":5,"epoch":1}\n', False),
        (b'{"note":"start"}\n' * 500 + METRICS.encode(), True),
        (b'{"time":1.0,"step":0,"kind":"state","message":"m","id":null,"detail":{}}\n', False),
        (b'\xff\xfe\n{"_step":1,"acc":2}\n', True),
        (json.dumps([1, 2]).encode() + b"\n", False),
    ],
)
def test_what_counts_as_metrics(head: bytes, expected: bool) -> None:
    assert holds_metrics(head) is expected


def test_a_folder_of_garbage_shows_what_is_wrong_with_it(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(b"\x00\xff garbage\n" * 40)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{bad")
    found = Scanner(tmp_path).scan()
    assert not found.locations
    assert found.problem is None
    assert list(found.warnings) == [
        f"{tmp_path / 'broken'}: run.json cannot be read, so it is not shown as a run",
        f"{tmp_path / 'x.jsonl'} is not a run: it has no rows with a step and numbers",
    ]
    (tmp_path / "good.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    assert Scanner(tmp_path).scan().warnings == (), "beside a run, other files are nobody's fault"
