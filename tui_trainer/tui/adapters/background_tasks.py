"""Work on adapters outside the screen's thread: list, edit, compare, merge, add."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tui_trainer.contracts.errors import UserError, error_text, reason_of
from tui_trainer.contracts.runs.run import RunInfo
from tui_trainer.contracts.teaching.adapter import AdapterInfo
from tui_trainer.store import model_files, paths
from tui_trainer.store.adapters.adapter_import import add_from
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.text import formats
from tui_trainer.tui.adapters.adapter_rows import AdapterListing
from tui_trainer.tui.adapters.comparison import ComparisonResult
from tui_trainer.tui.common.dialogs.progress import Report

if TYPE_CHECKING:
    from tui_trainer.launch.predict import PredictorProcess
    from tui_trainer.repl.context import SessionContext

_ADDABLE = frozenset({"completed", "early_stopped", "cancelled"})


def read_adapters() -> AdapterListing:
    """The current content of the store."""
    store = AdapterStore()
    try:
        items = tuple(store.list())
        bases = {item.info.base_model for item in items}
        live = {name: weight for base in sorted(bases) for name, weight in store.live(base).items()}
        return AdapterListing(items, tuple(live.items()), tuple(store.trash()))
    except OSError as error:
        return AdapterListing(problem=f"the adapters cannot be read: {reason_of(error)}")


def compare(context: SessionContext, names: tuple[str, str], report: Report) -> ComparisonResult:
    """Compare two adapters by their changes and by their answers to the newest questions.

    Raises `UserError`.
    """
    from tui_trainer.contracts.teaching.feedback import Turn
    from tui_trainer.repl.adapter_commands import recent_questions

    for name in names:
        context.adapters.check_answers(name)
    report("loading the model", None)
    context.client.start()
    folders = [context.adapters.usable_folder(name) for name in names]
    report("comparing the changes", 0.1)
    comparison = context.client.compare(*folders)
    questions = recent_questions(context)
    turns = [[Turn("user", question)] for question in questions]
    answers: list[list[str]] = []
    for index, folder in enumerate(folders):

        def answered(done: int, total: int, index: int = index) -> None:
            share = (index + done / max(1, total)) / len(folders)
            of_total = f"{formats.count(done)} of {formats.plural(total, 'question')}"
            report(f"answering with {names[index]}: {of_total}", 0.2 + 0.8 * share)

        answers.append(
            context.client.answers(
                turns,
                adapter=folder,
                max_new_tokens=context.settings.max_new_tokens,
                on_progress=answered,
            )
        )
    a, b = (context.adapters.get(name) for name in names)
    return ComparisonResult(a, b, comparison, tuple(zip(questions, *answers, strict=True)))


def merge(context: SessionContext, name: str, out: Path, report: Report) -> Path:
    """Write an adapter merged with its base model. Raises `UserError`."""
    from tui_trainer.repl import adapter_commands

    report("loading the model", None)
    return adapter_commands.merge(context, name, out, lambda stage: report(stage, None))


def edit(before: AdapterInfo, description: str, tags: Sequence[str]) -> str | None:
    """Save an adapter's description and tags; return why they could not be saved, or None.

    Only what differs from `before` is changed, so that what other sessions changed meanwhile is
    kept.
    """
    store = AdapterStore()
    added = [tag for tag in tags if tag not in before.tags]
    removed = [tag for tag in before.tags if tag not in tags]
    text = None if description == before.description else description
    try:
        present = store.get(before.name).tags
        if text is not None or added or removed:
            removed = [tag for tag in removed if tag in present]
            store.edit(before.name, description=text, tag=added, untag=removed)
    except Exception as error:
        return error_text(error)
    return None


def load_classifier(name: str, on_status: Callable[[str], None]) -> PredictorProcess:
    """The classifier of this name in its own process, loaded. Raises `UserError`."""
    from tui_trainer.contracts.predict import PredictSetup
    from tui_trainer.launch.predict import PredictorProcess

    store = AdapterStore()
    on_status("checking the adapter")
    folder, info = store.usable_folder(name), store.get(name)
    return PredictorProcess(PredictSetup(adapter=str(folder), base=info.base_model), on_status)


def addable(folder: RunFolder) -> RunInfo:
    """The record of a run whose adapter can be added; raises `UserError` for any other."""
    info = folder.info()
    if info is None:
        raise UserError(
            f"{folder.path.name} was written by another tool; only runs of tui-trainer can be added"
        )
    if folder.status() not in _ADDABLE or not folder.adapter_dir.is_dir():
        raise UserError(f"{info.name} has no finished adapter yet: it is {folder.status()}")
    return info


def add_run(folder: RunFolder, name: str, report: Report) -> str:
    """Copy a run's adapter into the store and return its name.

    Raises `UserError`, also if the base model on this disk is not the one it was trained on.
    """
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
    """Check that a local base model is unchanged; one from the hub has no hash to check."""
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
