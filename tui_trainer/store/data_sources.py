"""The data that a job names: files, folders, patterns and data sets of the Hugging Face hub."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import DataSource
from tui_trainer.text import formats

DATA_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow")
COMPRESSIONS = (".gz", ".zst")
ARCHIVE = ".zip"
HUB = "hub:"
NEEDS_PYARROW = 'needs pyarrow: pip install "tui-trainer[parquet]"'
NEEDS_DATASETS = 'needs datasets: pip install "tui-trainer[hub]"'

# Files that `datasets` writes beside the data of a saved data set.
_DESCRIPTIONS = frozenset(
    {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}
)
_PATTERN = re.compile(r"[*?\[]")
_HUB_ID = re.compile(
    r"(?P<name>[\w.-]+(?:/[\w.-]+)?)(?::(?P<config>[\w.-]+))?(?:\[(?P<split>[\w.-]+)\])?",
    re.ASCII,
)

Sources = str | Sequence[str | DataSource] | None


@dataclass(frozen=True)
class HubDataset:
    """A data set of the Hugging Face hub: `hub:NAME:CONFIG[SPLIT]`."""

    name: str  # `owner/name`, or `name` alone
    config: str | None
    split: str  # such as `train`


def file_list(value: Sources) -> list[Path]:
    """One file, several or none, as paths; a data set of the hub is a path that `hub_dataset`
    knows."""
    return [Path(path_of(item)) for item in _items(value)]


def source_weights(value: Sources) -> list[float]:
    """How often the rows of each file in `file_list` are used, as a factor."""
    return [item.weight if isinstance(item, DataSource) else 1.0 for item in _items(value)]


def path_of(item: str | DataSource) -> str:
    """The path of a source, with or without a weight."""
    return item.path if isinstance(item, DataSource) else item


def _items(value: Sources) -> Sequence[str | DataSource]:
    return [] if value is None else [value] if isinstance(value, str) else value


def is_data_file(file: Path) -> bool:
    """Whether a file's name has the ending of a data file, compressed or not."""
    suffix = file.suffix.lower()
    if suffix in COMPRESSIONS:
        suffix = Path(file.stem).suffix.lower()
    return suffix in (*DATA_SUFFIXES, ARCHIVE)


def hub_dataset(file: Path) -> HubDataset | None:
    """The data set that a path of `file_list` stands for; None for a file."""
    text = str(file)
    if not text.startswith(HUB):
        return None
    found = _HUB_ID.fullmatch(text.removeprefix(HUB))
    return HubDataset(found["name"], found["config"], found["split"] or "train") if found else None


def resolve_files(value: Sources, folder: Path, where: str) -> list[str]:
    """Data files as absolute paths, without weights. Raises `UserError`, as `resolve_sources`."""
    return [path_of(item) for item in resolve_sources(value, folder, where)]


def resolve_sources(value: Sources, folder: Path, where: str) -> list[str | DataSource]:
    """Sources as absolute paths of files; relative ones start at `folder`.

    A folder becomes its data files, a pattern those that match, both sorted by name. Raises
    `UserError`, whose message starts with `where`, for a file that is missing, empty or in another
    format, and where nothing is found.
    """
    items = _items(value)
    if not items:
        raise UserError(f"{where}: the list is empty; name at least one file")
    resolved: list[str | DataSource] = []
    for item in items:
        for file in _expand(path_of(item), folder, where):
            if isinstance(item, DataSource):
                resolved.append(msgspec.structs.replace(item, path=file))
            else:
                resolved.append(file)
    return resolved


def _expand(text: str, folder: Path, where: str) -> list[str]:
    if text.startswith(HUB):
        return [_hub_id(text, where)]
    full = _resolve(folder, text, where)
    try:
        if full.is_dir():
            return _inside(full, where)
        if not full.exists():
            if _is_hub_id(text, folder):
                return [f"{HUB}{text}"]
            if _PATTERN.search(text):
                return _matching(text, folder, where)
        return [_checked(text, full, where)]
    except OSError as error:
        raise UserError(f"{where}: {full} cannot be read: {error.strerror}") from None


def _is_hub_id(text: str, folder: Path) -> bool:
    """Whether a path that does not exist is `owner/name` of a data set: not where the job's folder
    has a folder of the owner's name, so that a misspelt file is not looked up on the hub."""
    owner, slash, name = text.partition("/")
    if not slash or owner.startswith((".", "~")) or is_data_file(Path(name)):
        return False
    return _HUB_ID.fullmatch(text) is not None and not (folder / owner).exists()


def _hub_id(text: str, where: str) -> str:
    if not _HUB_ID.fullmatch(text.removeprefix(HUB)):
        raise UserError(
            f"{where}: {text} is not a data set's id, such as hub:owner/name, "
            "hub:owner/name:config or hub:owner/name:config[validation]"
        )
    return text


def _resolve(folder: Path, text: str, where: str) -> Path:
    try:
        return (folder / Path(text).expanduser()).resolve()
    except (ValueError, RuntimeError, OSError) as error:  # a NUL byte, no home, a circle of links
        raise UserError(f"{where}: {text!r} is not a path: {error}") from None


def _matching(text: str, folder: Path, where: str) -> list[str]:
    """The data files that match a pattern; `**` stands for any folders."""
    pattern = str(Path(text).expanduser())
    names = glob.glob(pattern, root_dir=folder, recursive=True)  # noqa: PTH207  (may be absolute)
    found = sorted((folder / name).resolve() for name in names)
    files = [file for file in found if is_data_file(file) and file.is_file()]
    if not files:
        others = f"; it matches {formats.plural(len(found), 'other file')}" if found else ""
        raise UserError(f"{where}: no data file matches {folder / pattern}{others}")
    return [_checked(str(file), file, where) for file in files]


def _inside(folder: Path, where: str) -> list[str]:
    """The data files directly in a folder."""
    files = [
        file
        for file in sorted(folder.iterdir())
        if not file.name.startswith(".")
        and file.name not in _DESCRIPTIONS
        and is_data_file(file)
        and file.is_file()
    ]
    if not files:
        raise UserError(
            f"{where}: the folder {folder} has no data files ({' '.join(DATA_SUFFIXES)}); for "
            f"those in its folders write a pattern such as {folder.name}/**/*.jsonl"
        )
    return [_checked(str(file), file, where) for file in files]


def _checked(text: str, full: Path, where: str) -> str:
    if not is_data_file(full):
        raise UserError(
            f"{where}: {text} is not one of the formats {' '.join(DATA_SUFFIXES)}, also "
            f"compressed ({' '.join((*COMPRESSIONS, ARCHIVE))})"
        )
    if not full.exists():
        raise UserError(f"{where}: {full} does not exist")
    if not full.is_file():
        raise UserError(f"{where}: {full} is not a file")
    if full.stat().st_size == 0:
        raise UserError(f"{where}: {full} is empty; it needs at least one example")
    return str(full)
