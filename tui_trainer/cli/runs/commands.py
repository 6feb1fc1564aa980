"""`runs`: what was trained, one run's facts, and which others there are."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tui_trainer.cli import common, output
from tui_trainer.cli.monitor import check_folder
from tui_trainer.cli.runs.advise import advise_command
from tui_trainer.cli.runs.diff import diff
from tui_trainer.cli.runs.export import export
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.run import LoopInfo, RunInfo, RunState
from tui_trainer.text import formats
from tui_trainer.watch.runs import evaluation_lines

if TYPE_CHECKING:  # numpy: a tenth of a second, loaded when there is a run to read
    from tui_trainer.watch.run_location import RunLocation
    from tui_trainer.watch.snapshots import RunSummary

_CHANGES = 20  # the newest, in `show`
_LISTED = ("NAME", "STATUS", "STEP", "LOSS", "BEST VAL", "TREND", "TOK/S", "LEFT", "STARTED")


@click.group()
@common.runs_dir_option
@common.debug_option
def runs() -> None:
    """List runs, show one, compare several, export metrics: ours and other tools'.

    \b
    Examples:
      tui-trainer runs list --filter 'loss<2 status:running'
      tui-trainer runs show lighthouse --json
      tui-trainer runs diff lighthouse lighthouse-2
      tui-trainer runs export lighthouse --format csv -o lighthouse.csv
    """


runs.add_command(advise_command)


@runs.command("list")
@click.option("--filter", "asked", default="", metavar="TEXT", help="Words and conditions: "
              "'loss<2 lr>=1e-4 status:running -smoke lora.rank=16'.")  # fmt: skip
@click.option("--sort", "by", default="", metavar="FIELD", help="loss, step, best, val, trend, lr, "
              "speed, eta, age, name ...; -FIELD the other way round.")  # fmt: skip
@common.json_option("Print one JSON document.")
@common.runs_dir_option
@common.debug_option
@click.pass_context
def list_command(context: click.Context, asked: str, by: str, as_json: bool) -> None:
    """List the runs of a folder, ours and other tools', newest first.

    \b
    Examples:
      tui-trainer runs list
      tui-trainer runs list --filter 'loss<2 status:completed' --sort loss
      tui-trainer runs list --runs-dir sample_runs --json
    """
    folder = common.runs_dir(context)
    said = context.find_object(common.GlobalOptions)
    if folder.exists() or (said is not None and said.runs_dir is not None):
        check_folder(folder)
    found, total = _chosen(folder, asked, by)
    if as_json:
        from tui_trainer.cli.runs import run_documents

        output.document([run_documents.summary(run) for run in found])
    elif found:
        output.data(_table(found))
    elif total:
        output.say(f"none of {total:,} runs in {formats.escape(str(folder))} is as asked")
    else:
        output.say(_no_runs(folder))


@runs.command()
@click.argument("run", metavar="RUN")
@common.json_option("Print one JSON document.")
@common.runs_dir_option
@common.debug_option
@click.pass_context
def show(context: click.Context, run: str, as_json: bool) -> None:
    """Show one run's facts: state, results, configuration, checkpoints, the adapter.

    RUN is a run's folder or file, its id or its name; the newest of that name counts.

    \b
    Examples:
      tui-trainer runs show lighthouse
      tui-trainer runs show runs/lighthouse-20261101-120000-ab12 --json
      tui-trainer runs show logs/trainer_state.json
    """
    from tui_trainer.cli.runs import run_documents
    from tui_trainer.watch.runs.resolve import find_location

    found = run_documents.everything(find_location(run, common.runs_dir(context)))
    if as_json:
        output.document(found)
        return
    sections = [
        ("", _head(found)),
        ("results", _results(found)),
        ("classes", evaluation_lines.lines(found["evaluation"])),
        ("data", evaluation_lines.data_lines(found["data"])),
        *_made_with(found),
        ("changed on the way", _changes(found)),
        ("checkpoints", _checkpoints(found)),
        ("machine", _machine(found)),
        ("last lines of engine.log", [("|", line) for line in found["log"]]),
    ]
    texts = []
    for title, lines in sections:
        if lines:
            heading = f"{title}\n" if title else ""
            texts.append(heading + output.pairs(lines, indent=2 if title else 0))
    output.data("\n\n".join(texts))


runs.add_command(diff)
runs.add_command(export)


def _chosen(folder: Path, asked: str, by: str) -> tuple[list[RunSummary], int]:
    """The runs as asked, in order, and how many there are. Raises `UserError`."""
    if not (asked or by or folder.exists()):
        return [], 0
    from tui_trainer.watch.query import fields, query
    from tui_trainer.watch.runs import resolve

    name = by.removeprefix("-")
    if name and name not in fields.BY_NAME:
        raise UserError(f"--sort {by}: {query.parse(f'{name}=1').problem or 'no such field'}")
    glances, odd = resolve.find_all(folder)
    for sentence in odd:
        output.say(f"note: {formats.escape(sentence)}")
    configs: dict[Path, dict[str, Any]] = {}
    wanted = query.parse(asked)
    if wanted.needs_config or wanted.problem is not None:
        configs = {glance.location.path: _config_of(glance.location) for glance in glances}
        wanted = query.parse(asked, {key for config in configs.values() for key in config})
    if wanted.problem is not None:
        raise UserError(f"--filter: {wanted.problem}")
    now = time.time()
    found = [
        glance.summary
        for glance in glances
        if wanted.matches(glance.summary, now, configs.get(glance.location.path))
    ]
    falling = bool(name) and fields.BY_NAME[name].falling != by.startswith("-")
    return fields.arrange(found, name or None, falling, now), len(glances)


def _config_of(place: RunLocation) -> dict[str, Any]:
    """What a run was made with; empty where that cannot be read, as its row says."""
    from tui_trainer.watch import error_boundary
    from tui_trainer.watch.runs import flat_config, run_details

    try:
        if place.kind == "run":
            return flat_config.config_of(place.path)
        return dict(run_details.read_whole(place).config)
    except Exception as error:
        error_boundary.caught(error, place.path)
        return {}


def _table(found: list[RunSummary]) -> str:
    foreign = any(run.tool != "tui-trainer" for run in found)
    faulty = any(run.problem for run in found)
    headers = (*_LISTED, *(("TOOL",) if foreign else ()), "ID", *(("PROBLEM",) if faulty else ()))
    rows = [
        (
            *_row(run),
            *((run.tool,) if foreign else ()),
            run.id,
            *((run.problem,) if faulty else ()),
        )
        for run in found
    ]
    return output.table(headers, rows)


def _row(run: RunSummary) -> tuple[str, ...]:
    from tui_trainer.watch.query.fields import BY_NAME

    left = BY_NAME["eta"].number
    return (
        run.name,
        run.status,
        _steps(run.step, run.total_steps),
        formats.number(run.loss),
        formats.number(run.best_val_loss),
        formats.MISSING if run.trend is None else f"{run.trend * 100:+.1f} %",
        formats.number(run.tokens_per_second or None),
        formats.duration(left(run, 0.0) if left is not None else None),
        formats.moment(run.created_at),
    )


def _steps(step: int | None, total: int | None) -> str:
    return formats.count(step) + (f" / {total:,}" if total else "")


def _no_runs(folder: Path) -> str:
    where = formats.escape(str(folder))
    return f"no runs in {where} yet; the first one: tui-trainer train example"


def _head(found: dict[str, Any]) -> list[tuple[str, str]]:
    state: RunState | None = found["state"]
    lines = [
        ("run", found["id"]),
        ("folder" if found["kind"] == "run" else "place", found["path"]),
        ("written by", found["tool"]),
        ("status", found["status"]),
        *([("problem", found["problem"])] if found["problem"] else []),
        ("message", found["message"] or formats.MISSING),
        ("step", _steps(found["step"], found["total_steps"])),
        ("started", formats.moment(found["created_at"])),
        ("last written", formats.moment(found["updated_at"])),
        ("training time", formats.duration(found["elapsed_seconds"])),
    ]
    if state is not None and state.eta_seconds is not None and found["status"] == state.state:
        lines.append(("time left", formats.duration(state.eta_seconds)))
    if found["info"] is not None:
        lines.append(("host", found["info"].host))
    lines += [("odd", sentence) for sentence in found["oddities"]]
    if found["lacks"]:
        lines.append(("not recorded", ", ".join(found["lacks"])))
    if found["kind"] == "run":
        lines.append(("adapter", found["adapter"] or formats.MISSING))
    return lines


def _results(found: dict[str, Any]) -> list[tuple[str, str]]:
    train, rows = found["last_train"], found["rows"]
    lines = [("loss", f"{formats.number(found['loss'])} at step {formats.count(found['step'])}")]
    if train is not None:  # the newest row itself: its loss may not be a number
        lines = [
            ("loss", f"{formats.number(train.loss)} at step {train.step:,}"),
            ("gradient norm", formats.number(train.gradient_norm)),
        ]
    lines.append(("learning rate", formats.rate(found["learning_rate"])))
    for name, step in (("best_loss", "best_loss_step"), ("best_val_loss", "best_step")):
        if found[name] is not None:
            best = formats.number(found[name])
            title = name.replace("_", " ", 1)
            lines.append((title, f"{best} at step {formats.count(found[step])}"))
    if found["val_loss"] is not None:
        lines.append(("last val_loss", formats.number(found["val_loss"])))
    if found["trend"] is not None:
        lines.append(("trend", f"{found['trend'] * 100:+.1f} % over the last quarter"))
    lines.append(("rows", f"{rows['train']:,} training, {rows['eval']:,} evaluations"))
    lines.append(("metrics", ", ".join(found["metrics"])))
    return lines


def _made_with(found: dict[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    info: RunInfo | LoopInfo | None = found["info"]
    if isinstance(info, RunInfo):
        return [("job", _job(info))]
    if found["config"]:
        from tui_trainer.watch.runs.run_diff import words

        return [("configuration", [(key, words(value)) for key, value in found["config"].items()])]
    return [("job", [("run.json", "cannot be read")])] if found["kind"] == "run" else []


def _job(info: RunInfo) -> list[tuple[str, str]]:
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
        ("peak rate", f"{formats.rate(training.learning_rate)}, {training.scheduler}"),
        ("LoRA", f"rank {lora.rank}, alpha {lora.alpha:g}, dropout {lora.dropout:g}"),
        ("seed", str(training.seed)),
    ]


def _changes(found: dict[str, Any]) -> list[tuple[str, str]]:
    """What people or the advisor did to the learning rate, and where the run went back."""
    events = [event for event in found["events"] if event.kind in ("learning_rate", "rollback")]
    return [(f"step {event.step:,}", event.message) for event in events[-_CHANGES:]]


def _checkpoints(found: dict[str, Any]) -> list[tuple[str, str]]:
    lines = []
    for item in found["checkpoints"]:
        words = [formats.size(item["bytes"])]
        words += ["best"] if item["best"] else []
        words += [f"damaged: {item['problem']}"] if item["problem"] else []
        lines.append((item["name"], ", ".join(words)))
    return lines


def _machine(found: dict[str, Any]) -> list[tuple[str, str]]:
    lines = []
    for item in found["hardware"]:
        if item["unit"] == "bytes":
            last, peak = formats.size(item["last"]), formats.size(item["peak"])
        else:
            last, peak = (f"{item[which]:.0f} {item['unit']}" for which in ("last", "peak"))
        lines.append((item["name"], f"{last}, at most {peak}"))
    return lines
