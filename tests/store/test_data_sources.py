"""What a job names as data: files, folders, patterns and data sets of the hub."""

from __future__ import annotations

from pathlib import Path

import pytest

from tui_trainer.contracts.errors import UserError
from tui_trainer.store import data_sources, jobs
from tui_trainer.store.data_sources import HubDataset, hub_dataset, resolve_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.jsonl", "a.csv.gz", "deep/c.jsonl", "deep/er/d.json", "README.md", ".x.json"):
        file = tmp_path / "data" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
    for name in ("dataset_info.json", "state.json"):
        (tmp_path / "data" / name).write_text("{}")
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("data/b.jsonl", ["b.jsonl"]),
        ("data", ["a.csv.gz", "b.jsonl"]),
        ("data/", ["a.csv.gz", "b.jsonl"]),
        ("data/*.jsonl", ["b.jsonl"]),
        ("data/*", ["a.csv.gz", "b.jsonl", "dataset_info.json", "state.json"]),
        ("data/**/*.jsonl", ["b.jsonl", "c.jsonl"]),
        ("data/[a-c].*", ["a.csv.gz", "b.jsonl"]),
        (["data/deep/c.jsonl", "data"], ["c.jsonl", "a.csv.gz", "b.jsonl"]),
    ],
)
def test_folders_and_patterns(folder: Path, source: str | list[str], names: list[str]) -> None:
    found = resolve_files(source, folder, "test")
    assert [Path(file).name for file in found] == names
    assert all(Path(file).is_absolute() for file in found)


def test_a_file_whose_name_looks_like_a_pattern(folder: Path) -> None:
    (folder / "a[1].jsonl").write_text("x")
    assert resolve_files("a[1].jsonl", folder, "test") == [str(folder / "a[1].jsonl")]
    (folder / "f[x]").mkdir()
    (folder / "f[x]" / "a.json").write_text("x")
    assert resolve_files("*.json", folder / "f[x]", "test") == [str(folder / "f[x]" / "a.json")]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("hub:squad", HubDataset("squad", None, "train")),
        ("hub:a-b/c.d:plain[validation]", HubDataset("a-b/c.d", "plain", "validation")),
        ("owner/name", HubDataset("owner/name", None, "train")),
        ("owner/name[test]", HubDataset("owner/name", None, "test")),
    ],
)
def test_data_sets_of_the_hub(folder: Path, text: str, wanted: HubDataset) -> None:
    (resolved,) = resolve_files(text, folder, "test")
    (path,) = data_sources.file_list(resolved)
    assert hub_dataset(path) == wanted
    assert resolve_files(resolved, Path("/"), "test") == [resolved]


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ([], "test: the list is empty"),
        ("data/absent.jsonl", "absent.jsonl does not exist"),
        ("owner/absent.jsonl", "absent.jsonl does not exist"),
        ("data/absent", "is not one of the formats"),
        ("data/README.md", "is not one of the formats .jsonl"),
        ("empty", "has no data files"),
        ("data/*.parquet", "test: no data file matches "),
        ("data/*.md", "; it matches 1 other file"),
        ("hub:a/b/c", "test: hub:a/b/c is not a data set's id, such as hub:owner/name"),
        ("hub:a/b[", "is not a data set's id"),
        ("a\0.jsonl", "is not a path"),
    ],
)
def test_sources_that_are_refused(folder: Path, source: str | list[str], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        resolve_files(source, folder, "test")
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_sources_with_weights(folder: Path) -> None:
    sources = ["data/b.jsonl", {"path": "data/**/*.jsonl", "weight": 2.5}]
    job = jobs.check_job({"data": {"train": sources}}, folder, "test")
    assert [file.name for file in jobs.data_files(job)] == ["b.jsonl", "b.jsonl", "c.jsonl"]
    assert data_sources.source_weights(job.data.train) == [1.0, 2.5, 2.5]


@pytest.mark.parametrize("weight", [0, -1.0, float("inf"), float("nan"), "much"])
def test_weights_that_are_refused(folder: Path, weight: object) -> None:
    sources = [{"path": "data/b.jsonl", "weight": weight}]
    with pytest.raises(UserError, match=r"^test: data\.train\[0\]\.weight: a number") as caught:
        jobs.check_job({"data": {"train": sources}}, folder, "test")
    assert "\n" not in str(caught.value)
