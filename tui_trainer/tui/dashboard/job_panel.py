"""The panel with the settings of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from textual.content import Content

from tui_trainer.contracts.runs.run import RunInfo
from tui_trainer.store.data_sources import Sources, file_list
from tui_trainer.text import formats
from tui_trainer.text.formats import clean
from tui_trainer.tui.common.markup import shorten
from tui_trainer.tui.common.panel import Panel, stack
from tui_trainer.watch.snapshots import RunView

_LABEL = 9


@dataclass(frozen=True)
class JobLines:
    """Label and value of each line."""

    lines: tuple[tuple[str, str], ...] = ()


def job_facts_of(view: RunView | None) -> JobLines:
    """The facts of the job; for a run of another tool, its path and its recorded settings."""
    if view is None:
        return JobLines()
    if view.info is None:
        settings = (
            (clean(_own_name(key)), clean(str(value)))
            for key, value in view.config.items()
            if not key.startswith("versions.")
        )
        return JobLines((("file", clean(str(view.summary.path))), *settings))
    return JobLines(_lines(view.info))


def _own_name(key: str) -> str:
    """A setting without the section that most of them share, such as `arguments.`."""
    section, _, name = key.partition(".")
    return name if section in ("arguments", "args", "config", "hparams") and name else key


class JobPanel(Panel[JobLines]):
    """As many lines as fit."""

    def __init__(self) -> None:
        super().__init__(JobLines(), id="job")

    def draw(self, facts: JobLines, width: int, height: int) -> Content:
        wide = max((len(label) for label, _ in facts.lines[: height - 1]), default=0) + 1
        label_width = min(max(_LABEL, wide), max(_LABEL, width // 2))
        rows = [
            Content.assemble(
                (f"{label[-label_width + 1 :]:<{label_width}}", "$faint"),
                shorten(value, max(0, width - label_width)),
            ).truncate(width, ellipsis=True)
            for label, value in facts.lines[: max(0, height - 1)]
        ]
        return stack(Content.styled("job", "bold"), *rows)


def _lines(info: RunInfo) -> tuple[tuple[str, str], ...]:
    job = info.job
    training, lora = job.training, job.lora
    batch = f"{training.batch_size} × {training.gradient_accumulation_steps}"
    rate = formats.rate(training.learning_rate)
    rate = f"{rate} {training.scheduler}, warmup {training.warmup_steps}"
    return (
        ("base", _short(job.model)),
        ("train", _files(job.data.train)),
        ("val", _validation(info)),
        (
            "adapter",
            f"rank {lora.rank}, alpha {formats.short_number(lora.alpha)}, "
            f"drop {formats.short_number(lora.dropout)}",
        ),
        ("batch", f"{batch}, up to {formats.plural(job.data.max_length, 'token')} each"),
        ("rate", rate),
        ("precision", f"{training.precision}, seed {training.seed}"),
        ("host", clean(info.host)),
        ("id", clean(info.id)),
    )


def _validation(info: RunInfo) -> str:
    data = info.job.data
    if data.validation is not None:
        return _files(data.validation)
    return "none" if data.val_split is None else f"{formats.set_share(data.val_split)} of the rows"


def _files(value: Sources) -> str:
    files = list(map(str, file_list(value)))
    more = f" (+{len(files) - 1})" if len(files) > 1 else ""
    return f"{_short(files[0])}{more}" if files else "none"


def _short(path: str) -> str:
    return clean(Path(path).name or path) if path.startswith(("/", ".")) else clean(path)
