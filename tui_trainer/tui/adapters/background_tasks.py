"""What is done with adapters in the background: listing, comparing, merging, adding."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.run import RunInfo
from tui_trainer.store import model_files, paths
from tui_trainer.store.adapters.adapter_import import add_from
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.tui.adapters.adapter_rows import AdapterListing
from tui_trainer.tui.adapters.comparison import ComparisonResult
from tui_trainer.tui.common.dialogs.progress import Report

if TYPE_CHECKING:
    from tui_trainer.repl.context import SessionContext

_ADDABLE = frozenset({"completed", "early_stopped", "cancelled"})


def read_shelf() -> AdapterListing:
    """What the store holds now."""
    store = AdapterStore()
    try:
        items = tuple(store.list())
        bases = {item.info.base_model for item in items}
        live = {name: weight for base in sorted(bases) for name, weight in store.live(base).items()}
        return AdapterListing(items, tuple(live.items()), tuple(store.trash()))
    except OSError as error:
        return AdapterListing(problem=f"the adapters cannot be read: {error.strerror or error}")


def compare(desk: SessionContext, names: tuple[str, str], report: Report) -> ComparisonResult:
    """Compares two adapters, also by their answers to the newest questions. Raises
    `UserError`."""
    from tui_trainer.contracts.feedback import Turn
    from tui_trainer.repl.adapter_commands import recent_questions

    report("loading the model", None)
    desk.client.start()
    folders = [whole(desk.adapters, name) for name in names]
    report("comparing the changes", 0.1)
    comparison = desk.client.compare(*folders)
    questions = recent_questions(desk)
    turns = [[Turn("user", question)] for question in questions]
    answers: list[list[str]] = []
    for index, folder in enumerate(folders):

        def asked(done: int, total: int, index: int = index) -> None:
            share = (index + done / max(1, total)) / len(folders)
            report(f"asking {names[index]}: {done:,} of {total:,} questions", 0.2 + 0.8 * share)

        answers.append(
            desk.client.answers(
                turns,
                adapter=folder,
                max_new_tokens=desk.settings.max_new_tokens,
                on_progress=asked,
            )
        )
    a, b = (desk.adapters.get(name) for name in names)
    return ComparisonResult(a, b, comparison, tuple(zip(questions, *answers, strict=True)))


def merge(desk: SessionContext, name: str, out: Path, report: Report) -> Path:
    """Writes an adapter and its base as one model. Raises `UserError`."""
    report("loading the model", None)
    desk.client.start()
    return desk.client.merge(
        whole(desk.adapters, name), out, on_progress=lambda stage: report(stage, None)
    )


def whole(store: AdapterStore, name: str) -> Path:
    """The folder of an adapter whose files are as they were. Raises `UserError`."""
    wrong = store.problem(name)
    if wrong:
        raise UserError(f"adapter {name!r} cannot be used: {wrong}", 1)
    return store.folder(name)


def addable(folder: RunFolder) -> RunInfo:
    """A run whose adapter can be added. Raises `UserError` with the reason otherwise."""
    info = folder.info()
    if info is None:
        raise UserError(
            f"{folder.path.name} was written by another tool; only runs of tui-trainer can be added"
        )
    if folder.status() not in _ADDABLE or not folder.adapter_dir.is_dir():
        raise UserError(f"{info.name} has no finished adapter yet: it is {folder.status()}")
    if info.job.task != "causal-lm":
        raise UserError(f"{info.name} was trained for {info.job.task}; only causal-lm can chat")
    return info


def add_run(folder: RunFolder, name: str, report: Report) -> str:
    """Copies a run's adapter into the store and gives its name. Raises `UserError`, also where
    the base on this disk is not the one that it was trained on."""
    info = addable(folder)
    store = AdapterStore()
    for item in store.list():
        if item.info.run_id == info.id:
            raise UserError(f"the adapter of {info.name} was added before, as {item.info.name}")
    report("checking the base model", None)
    _check_base(info)
    report("copying the adapter", None)
    return add_from(store, folder.path, name).name


def _check_base(info: RunInfo) -> None:
    """A folder that is here must be what the adapter was trained on; a hub id has no hash."""
    if info.base_hash is None:
        return
    base = paths.builtin_model() if info.base_model == "builtin" else Path(info.base_path or "")
    if not (base / "config.json").is_file():
        raise UserError(f"the base model of {info.name} is missing: {base}")
    if model_files.hash_model(base) != info.base_hash:
        raise UserError(
            f"{info.name} was trained on another version of {info.base_model} than the one on "
            "this disk, so its adapter does not fit"
        )
