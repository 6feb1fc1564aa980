"""`docs/reference/files.md`: files of a run folder and of the home folder, with their fields."""

from __future__ import annotations

import ast
import inspect
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple, get_args, get_origin

import msgspec

from tests.tables.reference.markdown import cell, table
from tui_trainer.contracts.evaluation import EvaluationReport
from tui_trainer.contracts.hardware import GpuSample, HardwareSample, StepDivision
from tui_trainer.contracts.runs import data_report, metrics, run
from tui_trainer.contracts.runs.samples import SampleRecord
from tui_trainer.contracts.teaching.adapter import AdapterInfo, Measures
from tui_trainer.contracts.teaching.training import TrainingRecord
from tui_trainer.evaluation import golden
from tui_trainer.store.adapters import adapter_files
from tui_trainer.store.feedback import feedback_store
from tui_trainer.store.runs import checkpoint_scores, checkpoints, disk_reserve
from tui_trainer.store.runs.run_paths import RunPaths
from tui_trainer.store.runs.sent_notices import SentNotice
from tui_trainer.teaching import promotion_gate, training_queue

# Further files of a run folder: a pattern, and what the file has.
_INSIDE = {
    disk_reserve.NAME: "Space kept for the last state while the run is active.",
    "checkpoints/step-*/": "The state after a step: `step-00000050` after 50.",
    f"checkpoints/step-*/{checkpoints.MANIFEST}": "Size and SHA-256 of each file, written last.",
    f"checkpoints/step-*/{adapter_files.WEIGHTS}": "Weights of the adapter.",
    f"checkpoints/step-*/{adapter_files.CONFIG}": "Shape of the adapter, as PEFT writes it.",
    "checkpoints/step-*/optimizer.safetensors": "State of the optimizer.",
    "checkpoints/step-*/random.safetensors": "State of the random generators.",
    f"checkpoints/step-*/{checkpoint_scores.TRAINER}": "State of schedule, data order and scores.",
    "checkpoints/best": "Link to the checkpoint of the best evaluation.",
    f"checkpoints/{checkpoints.SUPERSEDED}/": "Checkpoints that a rollback has replaced.",
    f"adapter/{adapter_files.WEIGHTS}": "Weights of the adapter.",
    f"adapter/{adapter_files.CONFIG}": "Shape of the adapter, as PEFT writes it.",
    f"adapter/{adapter_files.LABELS}": "Names of a classifier's classes.",
    "adapter/tokenizer.json": "The base's tokenizer.",
    "adapter/tokenizer_config.json": "Settings of the tokenizer.",
    "adapter/chat_template.jinja": "The base's chat template.",
    "adapter/README.md": "The model card.",
}
# The home folder: a pattern, and what the file has.
HOME = {
    "config.toml": "The configuration; [settings](settings.md#the-configuration).",
    "themes/*.toml": "Palettes of the user's own.",
    golden.NAME: "Golden questions with their answers, checked by every teaching.",
    f"feedback/{feedback_store.JOURNAL}": "Ratings and corrections, appended.",
    "conversations/*.jsonl": "A conversation each.",
    "conversations/current": "Name of the conversation that is continued.",
    "conversations/history.txt": "Lines typed into the chat.",
    "adapters/*/": "An adapter each, in PEFT's format: the files of a run's `adapter/`.",
    f"adapters/*/{adapter_files.INFO}": "Base, origin and measures of the adapter, written last.",
    f"adapters/*/{adapter_files.USAGE}": "How many questions it has answered.",
    "adapters/*/evaluations/*.json": "Results of evaluations of the adapter.",
    "adapters/live.json": "The active adapters by base, with their weights.",
    "adapters/.trash/": "Deleted adapters, until `tui-trainer adapters purge`.",
    f"teaching/{training_queue.JOURNAL}": "The queue of trainings, appended.",
    "teaching/*/plan.json": "What a training is to teach, and how it is checked.",
    f"teaching/*/{promotion_gate.FILE}": "The check of a training's adapter: answers lost and won.",
    "teaching/*/*.jsonl": "Rows of a training; in `answers/` earlier answers of a base, kept.",
    "teaching/teacher.lock": "Held by the session that trains.",
    "cache/": "May be deleted at any time: tokens of data sets (`tokens/`), answers of interrupted "
    "evaluations (`evaluations/`), rewritten rows (`versions/`), input directions "
    "(`null-space/`).",
    "*/.lock": "Held while the folder is changed.",
}
# Which type a file has, by the file's name.
TYPES: dict[str, tuple[type[msgspec.Struct], ...]] = {
    "run.json": (run.RunBasics, run.RunInfo, run.LoopInfo),
    "state.json": (run.RunState, run.BestEvaluation),
    "metrics.jsonl": (metrics.TrainRecord, metrics.EvalRecord),
    "events.jsonl": (run.Event,),
    "control.jsonl": (run.Command,),
    "hardware.jsonl": (HardwareSample, GpuSample, StepDivision),
    "notices.jsonl": (SentNotice,),
    "data.json": (
        data_report.DataReport,
        data_report.PartReport,
        data_report.LeftOutRows,
        data_report.UnusedField,
        data_report.Repeats,
        data_report.LabelReport,
        data_report.SourceReport,
        data_report.AugmentReport,
    ),
    "evaluation.json": (metrics.EvaluationFile, metrics.Evaluation, metrics.ClassScore),
    "evaluations/NAME.json": (EvaluationReport,),
    "gradients.json": (metrics.GradientCheck,),
    "samples.jsonl": (SampleRecord,),
    checkpoints.MANIFEST: (checkpoints.Manifest, checkpoints.FileEntry),
    adapter_files.INFO: (AdapterInfo, Measures),
    training_queue.JOURNAL: (TrainingRecord,),
}


class Field(NamedTuple):
    """A field of a record, as its class declares it."""

    name: str  # in the file
    type: str
    comment: str


def run_files() -> dict[str, str]:
    """Every file and folder of a run folder, with what it has."""
    found = {}
    folder = RunPaths(Path())
    for name, member in vars(RunPaths).items():
        if isinstance(member, property):
            path = str(getattr(folder, name))
            found[f"{path}/" if name.endswith("_dir") else path] = inspect.getdoc(member) or ""
    return found | _INSIDE


def fields(kind: type[msgspec.Struct]) -> Iterator[Field]:
    """The fields that a struct declares itself, with the comment behind or above each."""
    source = inspect.getsource(kind)
    comments: dict[int, str] = {}
    alone: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            text = token.string.lstrip("# ")
            comments[token.start[0]] = _as_json(text)
            if not token.line[: token.start[1]].strip():
                alone.add(token.start[0])
    declared = ast.parse(source).body[0]
    assert isinstance(declared, ast.ClassDef)
    for node in declared.body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        first = node.lineno
        while first - 1 in alone:
            first -= 1
        last = node.end_lineno or node.lineno
        text = " ".join(comments[line] for line in range(first, last + 1) if line in comments)
        yield Field(_name_in_file(node), _type_text(kind, ast.unparse(node.annotation)), text)


def _as_json(text: str) -> str:
    """A text with values as the files have them."""
    return re.sub(r"\bNone\b", "null", text)


def _type_text(kind: type[msgspec.Struct], annotation: str) -> str:
    """A type as the class writes it; the values of a `Literal` that has a name."""
    found = []
    for part in (part.strip() for part in annotation.split("|")):
        named = getattr(sys.modules[kind.__module__], part, None)
        if get_origin(named) is Literal:
            found += [f'"{value}"' for value in get_args(named)]
        elif part != "msgspec.UnsetType":
            found.append(part.replace("None", "null"))
    return " or ".join(found)


def _name_in_file(node: ast.AnnAssign) -> str:
    """The field's name, or the one that `msgspec.field(name=…)` gives it."""
    assert isinstance(node.target, ast.Name)
    if isinstance(node.value, ast.Call):
        for keyword in node.value.keywords:
            if keyword.arg == "name" and isinstance(keyword.value, ast.Constant):
                return str(keyword.value.value)
    return node.target.id


def _records() -> Iterator[str]:
    for name, kinds in TYPES.items():
        yield f"### `{name}`"
        for kind in kinds:
            summary = " ".join(inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].split())
            summary = _as_json(summary)
            yield f"**{kind.__name__}**: {summary}"
            rows = [[f"`{f.name}`", f"`{f.type}`", cell(f.comment)] for f in fields(kind)]
            if rows:
                yield table(["field", "type", "what it is"], rows)


def _table(found: dict[str, str]) -> str:
    return table(["file", "what it has"], [[f"`{name}`", text] for name, text in found.items()])


def page() -> str:
    """The page as Markdown."""
    parts = [
        "# Files",
        "Files that matter are written to a temporary name, flushed and renamed; those with lines "
        "are only appended to, so that any program may read them meanwhile. Files are created with "
        "mode 0600 and folders with 0700: only their owner can read them.",
        "## A run folder",
        "`NAME-DATE-TIME-XXXX` in the folder of runs (`--runs-dir`, `runs_dir` of the "
        "configuration).",
        _table(run_files()),
        "## The home folder",
        "`TUI_TRAINER_HOME`, or else the platform's own folders for data, configuration "
        "(`config.toml`, `themes/`) and caches (`cache/`); `tui-trainer doctor` shows where.",
        _table(HOME),
        "## Fields",
        "Times are seconds since the epoch (UTC). A value that is not a finite number is `null`, "
        "and in `metrics.jsonl` its field is named in `nonfinite`. A field of the type `Job` has "
        "the [settings of a job](settings.md#a-job); other records have a table of their own.",
        *_records(),
    ]
    return "\n\n".join(parts) + "\n"
