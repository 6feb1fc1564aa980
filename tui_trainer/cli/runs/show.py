"""`runs show`: the facts of one run."""

from __future__ import annotations

from typing import Any

import click

from tui_trainer.cli.common import options, output
from tui_trainer.contracts.runs.run import BestEvaluation, LoopInfo, RunInfo, RunState
from tui_trainer.evaluation.metrics import value_text
from tui_trainer.store.data_sources import file_list, source_weights
from tui_trainer.store.runs.evaluation_files import unreadable_text
from tui_trainer.text import formats
from tui_trainer.watch.runs import saved_step
from tui_trainer.watch.runs.details import evaluation_lines

_CHANGES = 20  # the newest are shown
_EPOCHS = 20  # the newest are shown
_CHECKPOINT_SCORES = (
    ("epoch", formats.short_number),
    ("loss", formats.number),
    ("accuracy", formats.score),
    ("val_loss", formats.number),
    ("val_accuracy", formats.score),
)


@click.command()
@click.argument("run", metavar="RUN")
@options.json_option("Print one JSON document.")
@options.runs_dir_option
@options.debug_option
@click.pass_context
def show(context: click.Context, run: str, as_json: bool) -> None:
    """Show one run: state, results, configuration, checkpoints.

    RUN is a run's folder or file, its id or its name; of several with one name, the newest.

    \b
    Examples:
      tui-trainer runs show lighthouse
      tui-trainer runs show runs/lighthouse-20261101-120000-ab12 --json
      tui-trainer runs show logs/trainer_state.json
    """
    from tui_trainer.cli.runs import run_documents
    from tui_trainer.watch.runs.resolve import find_location

    found = run_documents.everything(find_location(run, options.runs_dir(context)))
    if as_json:
        output.document(found)
        return
    sections = [
        ("", _head(found)),
        ("results", _results(found)),
        ("epochs", _epochs(found)),
        ("evaluations", _evaluations(found)),
        ("classes", evaluation_lines.lines(found["evaluation"])),
        ("data", evaluation_lines.data_lines(found["data"])),
        *_configuration(found),
        ("changes during the run", _changes(found)),
        ("checkpoints", _checkpoints(found)),
        ("hardware", _hardware(found)),
        ("last lines of engine.log", [("|", line) for line in found["log"]]),
    ]
    texts = []
    for title, lines in sections:
        if lines:
            heading = f"{title}\n" if title else ""
            texts.append(heading + output.pairs(lines, indent=2 if title else 0))
    output.data("\n\n".join(texts))


def _head(found: dict[str, Any]) -> list[tuple[str, str]]:
    state: RunState | None = found["state"]
    lines = [
        ("run", found["id"]),
        ("folder" if found["kind"] == "run" else "path", found["path"]),
        ("written by", found["tool"]),
        ("status", found["status"]),
        *([("problem", found["problem"])] if found["problem"] else []),
        ("message", found["message"] or formats.MISSING),
        ("step", formats.steps(found["step"], found["total_steps"])),
        ("started", formats.moment(found["created_at"])),
        ("last written", formats.moment(found["updated_at"])),
        ("training time", formats.duration(found["elapsed_seconds"])),
    ]
    if state is not None and state.eta_seconds is not None and found["status"] == state.state:
        lines.append(("time remaining", formats.duration(state.eta_seconds)))
    if found["info"] is not None:
        lines.append(("host", found["info"].host))
    lines += [("warning", sentence) for sentence in found["oddities"]]
    if found["lacks"]:
        lines.append(("not recorded", ", ".join(found["lacks"])))
    if found["kind"] == "run":
        lines.append(("adapter", found["adapter"] or formats.MISSING))
        if found["adapter"] and (saved := saved_step.text(state)) is not None:
            lines.append(("saved step", saved))
    return lines


def _results(found: dict[str, Any]) -> list[tuple[str, str]]:
    train, rows = found["last_train"], found["rows"]
    lines = [("loss", f"{formats.number(found['loss'])} at step {formats.count(found['step'])}")]
    if train is not None:  # the newest row itself, as its loss may not be finite
        lines = [
            ("loss", f"{formats.number(train.loss)} at step {formats.count(train.step)}"),
            ("gradient norm", formats.number(train.gradient_norm)),
        ]
    lines.append(("learning rate", formats.rate(found["learning_rate"])))
    for name, step in (("best_loss", "best_loss_step"), ("best_val_loss", "best_step")):
        if found[name] is not None:
            best = formats.number(found[name])
            title = name.replace("_", " ", 1)
            lines.append((title, f"{best} at step {formats.count(found[step])}"))
    best_evaluation: BestEvaluation | None = found["best"]
    if best_evaluation is not None and best_evaluation.metric != "val_loss":
        score = formats.number(best_evaluation.value)
        text = f"{score} at step {formats.count(best_evaluation.step)}"
        lines.append((f"best {best_evaluation.metric}", text))
    if found["val_loss"] is not None:
        lines.append(("last val_loss", formats.number(found["val_loss"])))
    if found["trend"] is not None:
        lines.append(("trend", f"{formats.change(found['trend'])} over the last quarter"))
    evaluations = formats.plural(rows["eval"], "evaluation")
    lines.append(("rows", f"{formats.plural(rows['train'], 'training row')}, {evaluations}"))
    lines.append(("metrics", ", ".join(found["metrics"])))
    return lines


def _epochs(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The results of the newest epochs."""
    lines = []
    for item in found["epochs"][-_EPOCHS:]:
        evaluation = item["evaluation"]
        facts = [f"loss {formats.number(item['loss'])}"]
        if item["accuracy"] is not None:
            facts.append(f"accuracy {formats.score(item['accuracy'])}")
        for name, text in (("val_loss", formats.number), ("val_accuracy", formats.score)):
            if name in evaluation:
                facts.append(f"{name} {text(evaluation[name])}")
        facts += [f"rate {formats.rate(item['learning_rate'])}", formats.duration(item["seconds"])]
        if item["samples_per_second"] is not None:
            facts.append(f"{formats.number(item['samples_per_second'], 3)} samples/s")
        facts += ["best"] if item["best"] else []
        share = "" if item["share"] >= 1 else f" ({formats.share(item['share'])})"
        lines.append((f"{formats.count(item['epoch'])}{share}", ", ".join(facts)))
    return lines


def _evaluations(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The metrics of each evaluation on a file."""
    lines = []
    for report in found["evaluations"]:
        metrics = [f"{name} {value_text(name, value)}" for name, value in report.metrics.items()]
        about = f"{formats.plural(report.rows, 'row')}, {formats.moment(report.time)}"
        lines.append((report.name, f"{', '.join(metrics)}; {about}"))
    if found["unreadable_evaluations"]:
        lines.append(("warning", unreadable_text(found["unreadable_evaluations"])))
    return lines


def _configuration(found: dict[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    info: RunInfo | LoopInfo | None = found["info"]
    if isinstance(info, RunInfo):
        return [("job", _job(info))]
    if found["config"]:
        from tui_trainer.watch.runs.details.run_diff import config_text

        return [
            ("configuration", [(key, config_text(value)) for key, value in found["config"].items()])
        ]
    return [("job", [("run.json", "cannot be read")])] if found["kind"] == "run" else []


def _job(info: RunInfo) -> list[tuple[str, str]]:
    job = info.job
    lora, training = job.lora, job.training
    if training.max_steps:
        length = formats.plural(training.max_steps, "step")
    else:
        length = formats.plural(training.epochs or 1, "epoch")
    batch = f"{training.batch_size} × {training.gradient_accumulation_steps}"
    files, weights = file_list(job.data.train), source_weights(job.data.train)
    train = [
        f"{file} × {formats.short_number(weight)}" if weight != 1 else str(file)
        for file, weight in zip(files, weights, strict=True)
    ]
    return [
        ("base model", job.model),
        ("data", ", ".join(train)),
        ("length", length),
        ("batch", f"{batch} examples a step"),
        ("peak rate", f"{formats.rate(training.learning_rate)}, {training.scheduler}"),
        (
            "LoRA",
            f"rank {lora.rank}, alpha {formats.short_number(lora.alpha)}, "
            f"dropout {formats.short_number(lora.dropout)}",
        ),
        ("seed", str(training.seed)),
    ]


def _changes(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The newest changes of the learning rate and rollbacks."""
    events = [event for event in found["events"] if event.kind in ("learning_rate", "rollback")]
    return [(f"step {formats.count(event.step)}", event.message) for event in events[-_CHANGES:]]


def _checkpoints(found: dict[str, Any]) -> list[tuple[str, str]]:
    lines = []
    for item in found["checkpoints"]:
        facts = [formats.size(item["bytes"])]
        facts += ["best"] if item["best"] else []
        for name, text in _CHECKPOINT_SCORES:
            if item[name] is not None:
                facts.append(f"{name} {text(item[name])}")
        facts.append(f"saved {formats.moment(item['saved_at'])}")
        facts += [f"damaged: {item['problem']}"] if item["problem"] else []
        lines.append((item["name"], ", ".join(facts)))
    return lines


def _hardware(found: dict[str, Any]) -> list[tuple[str, str]]:
    lines = []
    for item in found["hardware"]:
        if item["unit"] == "bytes":
            last, peak = formats.size(item["last"]), formats.size(item["peak"])
        else:
            last, peak = (
                f"{formats.count(item[which])} {item['unit']}" for which in ("last", "peak")
            )
        lines.append((item["name"], f"{last}, at most {peak}"))
    return lines
