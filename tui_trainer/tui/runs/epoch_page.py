"""The page of a run's details with its results by epoch. No I/O."""

from __future__ import annotations

from collections.abc import Callable

from textual.content import Content

from tui_trainer.text import formats
from tui_trainer.tui.runs.details_pages import not_recorded, page
from tui_trainer.watch.runs.details.epochs import EpochResult, epoch_results
from tui_trainer.watch.runs.details.run_details import RunDetails

_MOST = 500  # epochs shown, the newest
_GAP = 2
_BEST = "best"


def epochs(known: RunDetails, width: int) -> Content:
    """Losses, accuracy, learning rate and speed of each epoch; the best one is marked."""
    results = epoch_results(known.view)
    if not results:
        return not_recorded(known, "epochs")
    shown = results[-_MOST:]
    columns = _columns(shown, width)
    lines = ["".join(parts) for parts in zip(*columns, strict=True)]
    table = [Content.styled(lines[0].rstrip(), "$faint")]
    for line, result in zip(lines[1:], shown, strict=True):
        mark = (_BEST, "bold $success") if result.best else ""
        table.append(Content.assemble(line, mark) if mark else Content(line.rstrip()))
    if len(shown) < len(results):
        left_out = formats.plural(len(results) - len(shown), "earlier epoch")
        table.append(Content.styled(f"{left_out} not shown", "$faint"))
    return page(table)


def _columns(results: tuple[EpochResult, ...], width: int) -> list[list[str]]:
    """The columns with values, titles first and padded; the least important are left out where
    there is no room."""
    table: list[tuple[str, Callable[[EpochResult], str], bool, int]] = [
        ("epoch", _epoch, True, 0),
        ("loss", lambda one: formats.number(one.loss), _any(results, "loss"), 0),
        ("val_loss", _evaluated("val_loss", formats.number), _has(results, "val_loss"), 0),
        ("acc", lambda one: formats.score(one.accuracy), _any(results, "accuracy"), 1),
        ("val acc", _evaluated("val_accuracy", formats.score), _has(results, "val_accuracy"), 0),
        ("val F1", _evaluated("val_f1_macro", formats.score), _has(results, "val_f1_macro"), 4),
        ("rate", lambda one: formats.rate(one.learning_rate), _any(results, "learning_rate"), 3),
        ("step", lambda one: formats.count(one.step), True, 5),
        ("time", lambda one: formats.duration(one.seconds), _any(results, "seconds"), 1),
        (
            "samples/s",
            lambda one: formats.number(one.samples_per_second, 3),
            _any(results, "samples_per_second"),
            2,
        ),
    ]
    columns = []
    for title, text, present, rank in table:
        if present:
            cells = [title, *(text(result) for result in results)]
            wide = max(map(len, cells))
            columns.append((rank, [f"{cell:>{wide}}{' ' * _GAP}" for cell in cells]))
    room = width - len(_BEST)
    while sum(len(cells[0]) for _, cells in columns) > room and any(r for r, _ in columns):
        columns.remove(max(columns, key=lambda column: column[0]))
    return [cells for _, cells in columns]


def _epoch(result: EpochResult) -> str:
    if result.share >= 1:
        return formats.count(result.epoch)
    return f"{formats.count(result.epoch)} ({formats.share(result.share)})"


def _evaluated(name: str, text: Callable[[float | None], str]) -> Callable[[EpochResult], str]:
    return lambda result: text(result.evaluation.get(name))


def _any(results: tuple[EpochResult, ...], name: str) -> bool:
    return any(getattr(result, name) is not None for result in results)


def _has(results: tuple[EpochResult, ...], name: str) -> bool:
    return any(name in result.evaluation for result in results)
