"""`runs`: what was trained, and one run's facts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tui_trainer.cli import common, facts, output, scores
from tui_trainer.cli.monitor import check_folder
from tui_trainer.contracts.run import RunInfo, RunState
from tui_trainer.store import runs as store


@click.group()
@common.runs_dir_option
@common.debug_option
def runs() -> None:
    """List runs, and show one run's facts.

    \b
    Examples:
      tui-trainer runs list
      tui-trainer runs show lighthouse --json
    """


@runs.command("list")
@common.json_option("Print one JSON document.")
@common.runs_dir_option
@common.debug_option
@click.pass_context
def list_command(context: click.Context, as_json: bool) -> None:
    """List the runs of a folder, newest first.

    \b
    Examples:
      tui-trainer runs list
      tui-trainer runs list --runs-dir sample_runs --json
    """
    folder = common.runs_dir(context)
    said = context.find_object(common.Session)
    if folder.exists() or (said is not None and said.runs_dir is not None):
        check_folder(folder)
    found = [facts.summary(run) for run in store.list_runs(folder)]
    if as_json:
        output.document(found)
    elif found:
        headers = ("NAME", "STATUS", "STEP", "LOSS", "BEST VAL", "STARTED", "ID")
        output.data(output.table(headers, [_row(item) for item in found]))
    else:
        output.say(_no_runs(folder))


@runs.command()
@click.argument("run", metavar="RUN")
@common.json_option("Print one JSON document.")
@common.runs_dir_option
@common.debug_option
@click.pass_context
def show(context: click.Context, run: str, as_json: bool) -> None:
    """Show one run's facts: state, results, checkpoints, where the adapter lies.

    RUN is a run's folder, id or name; the newest of that name counts.

    \b
    Examples:
      tui-trainer runs show lighthouse
      tui-trainer runs show runs/lighthouse-20261101-120000-ab12 --json
    """
    found = facts.everything(store.find_run(run, common.runs_dir(context)))
    if as_json:
        output.document(found)
        return
    sections = [
        ("", _head(found)),
        ("results", _results(found)),
        ("classes", scores.lines(found["evaluation"])),
        ("data", scores.data_lines(found["data"])),
        ("job", _job(found["info"])),
        ("checkpoints", _checkpoints(found)),
        ("last lines of engine.log", [("|", line) for line in found["log"]]),
    ]
    texts = []
    for title, lines in sections:
        if lines:
            heading = f"{title}\n" if title else ""
            texts.append(heading + output.pairs(lines, indent=2 if title else 0))
    output.data("\n\n".join(texts))


def _row(item: dict[str, Any]) -> tuple[str, ...]:
    return (
        item["name"],
        item["status"],
        _steps(item),
        output.number(item["loss"]),
        output.number(item["best_val_loss"]),
        output.moment(item["created_at"]),
        item["id"],
    )


def _steps(item: dict[str, Any]) -> str:
    total = item["total_steps"]
    return output.count(item["step"]) + (f" / {total:,}" if total else "")


def _no_runs(folder: Path) -> str:
    where = output.escape(str(folder))
    return f"no runs in {where} yet; the first one: tui-trainer train example"


def _head(found: dict[str, Any]) -> list[tuple[str, str]]:
    state: RunState | None = found["state"]
    info: RunInfo | None = found["info"]
    lines = [
        ("run", found["id"]),
        ("folder", found["path"]),
        ("status", found["status"]),
        ("message", found["message"] or output.NONE),
        ("step", _steps(found)),
        ("started", output.moment(found["created_at"])),
        ("last written", output.moment(found["updated_at"])),
    ]
    if state is not None:
        lines.append(("training time", output.duration(state.elapsed_seconds)))
        if state.eta_seconds is not None and found["status"] == state.state:
            lines.append(("time left", output.duration(state.eta_seconds)))
    if info is not None:
        lines.append(("host", info.host))
    lines.append(("adapter", found["adapter"] or output.NONE))
    return lines


def _results(found: dict[str, Any]) -> list[tuple[str, str]]:
    train, evaluation = found["last_train"], found["last_eval"]
    lines = []
    if train is not None:
        lines += [
            ("loss", f"{output.number(train.loss)} at step {train.step:,}"),
            ("learning rate", output.rate(train.learning_rate)),
            ("gradient norm", output.number(train.gradient_norm)),
        ]
    if evaluation is not None:
        lines.append(
            ("val_loss", f"{output.number(evaluation.val_loss)} at step {evaluation.step:,}")
        )
    if found["best_val_loss"] is not None:
        best = output.number(found["best_val_loss"])
        lines.append(("best val_loss", f"{best} at step {output.count(found['best_step'])}"))
    return lines


def _job(info: RunInfo | None) -> list[tuple[str, str]]:
    if info is None:
        return [("run.json", "cannot be read")]
    job = info.job
    lora, training = job.lora, job.training
    length = f"{training.max_steps:,} steps" if training.max_steps else f"{training.epochs} epochs"
    batch = f"{training.batch_size} × {training.gradient_accumulation_steps}"
    train = [job.data.train] if isinstance(job.data.train, str) else job.data.train
    return [
        ("base model", job.model),
        ("data", ", ".join(train)),
        ("length", length),
        ("batch", f"{batch} examples a step"),
        ("peak rate", f"{output.rate(training.learning_rate)}, {training.scheduler}"),
        ("LoRA", f"rank {lora.rank}, alpha {lora.alpha:g}, dropout {lora.dropout:g}"),
        ("seed", str(training.seed)),
    ]


def _checkpoints(found: dict[str, Any]) -> list[tuple[str, str]]:
    lines = []
    for item in found["checkpoints"]:
        words = [output.size(item["bytes"])]
        words += ["best"] if item["best"] else []
        words += [f"damaged: {item['problem']}"] if item["problem"] else []
        lines.append((item["name"], ", ".join(words)))
    return lines
