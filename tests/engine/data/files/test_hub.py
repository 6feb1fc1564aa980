"""Data sets of the hub, without network, from a cache that `datasets` itself wrote."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tui_trainer.contracts.errors import UserError
from tui_trainer.engine.data.files.data_files import read_objects
from tui_trainer.engine.data.row_formats import read_rows
from tui_trainer.store import job_checks, jobs

ROWS: list[dict[str, Any]] = [{"text": f"text {i}", "label": i % 2} for i in range(6)]


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The data set `owner/things` with two splits in an otherwise empty cache, and no network."""
    datasets = pytest.importorskip("datasets")
    cache = tmp_path / "cache"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(cache))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    features = datasets.Features(
        text=datasets.Value("string"), label=datasets.ClassLabel(names=["no", "yes"])
    )
    datasets.load_dataset(
        "json",
        data_files={"train": str(file), "validation": str(file)},
        features=features,
        cache_dir=str(tmp_path / "made"),
    )
    (info,) = (tmp_path / "made").glob("json/*/*/*/dataset_info.json")
    folder = cache / "owner___things" / "plain" / "0.0.0" / "0"
    folder.mkdir(parents=True)
    values = json.loads(info.read_text()) | {"config_name": "plain", "dataset_name": "things"}
    (folder / "dataset_info.json").write_text(json.dumps(values))
    for split in ("train", "validation"):
        (info.parent / f"json-{split}.arrow").rename(folder / f"things-{split}.arrow")
    return datasets


@pytest.mark.parametrize(
    "name",
    [
        "owner/things",
        "hub:owner/things",
        "owner/things:plain",
        "hub:owner/things:plain[validation]",
    ],
)
def test_rows_come_from_the_cache(cached: Any, tmp_path: Path, name: str) -> None:
    job = jobs.check_job({"task": "classification", "data": {"train": name}}, tmp_path, "test")
    (file,) = jobs.data_files(job)
    values = [value for _, _, value in read_objects(file)]
    assert values == [row | {"label": ("no", "yes")[row["label"]]} for row in ROWS]
    rows = read_rows([file], labelled=True)
    assert [row.label for row in rows.found] == ["no", "yes"] * 3
    assert rows.found[2].where.endswith(" row 3")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("hub:owner/absent", "hub:owner/absent cannot be loaded ("),
        ("hub:owner/things[test]", "check the id, the configuration and the split"),
        ("hub:owner/things:other", "or load it once where there is network"),
    ],
)
def test_a_data_set_that_is_not_in_the_cache(cached: Any, name: str, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        read_rows([Path(name)])
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_without_datasets_the_job_is_refused_before_anything_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = jobs.check_job({"data": {"train": "hub:owner/things"}}, tmp_path, "test")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    (finding,) = [found for found in job_checks.check(job) if found.level == "error"]
    assert finding.message == (
        'hub:owner/things: a data set of the hub needs datasets: pip install "tui-trainer[hub]"'
    )
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError) as caught:
        read_rows([Path("hub:owner/things")])
    assert str(caught.value) == finding.message
