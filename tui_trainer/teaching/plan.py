"""Plans a training: writes its data files and its job, and the questions of its check."""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tui_trainer.contracts.chat.protocol import ModelReady
from tui_trainer.contracts.errors import BAD_CONTENT, UserError
from tui_trainer.contracts.job import (
    DataSettings,
    Job,
    LoraSettings,
    Precision,
    TrainingSettings,
)
from tui_trainer.contracts.teaching.feedback import RatedExample
from tui_trainer.contracts.teaching.training import TeachingSettings
from tui_trainer.store import atomic, job_checks, jobs, paths
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.teaching.retention.replay import (
    EARLIER_SHARE,
    RetentionReserve,
    questions_to_check,
    replay_rows,
    retained_rows,
)
from tui_trainer.teaching.training_rows import AS_ASKED, KnownAnswer, row, training_rows, write_rows

PLAN = "plan.json"
START = "start"
SEED = 42
WARMUP_STEPS = 5
# Answers of the base itself in each step, whose predictions are kept.
RETAINED_PER_STEP = 8
# Steps within which ten corrections are usually learned, and what a training computes on an idle
# CPU thread and on a GPU (operations a second), to estimate its time before it starts.
USUAL_STEPS = 20
THREAD_SPEED, GPU_SPEED = 1e11, 2e13
_TEMPLATE_TOKENS = 20  # of a row, about
_BYTES_PER_TOKEN = 4
# The longest training example, in tokens: attention over more costs too much.
LONGEST = 2048
# The learning rate measured on the built-in base, and the number of its parameters.
MEASURED_RATE = 3e-3
MEASURED_PARAMETERS = 2.6e6
# With it the rate of SmolLM2-135M is 1e-3, at which ten corrections were learned fastest without
# more of the base being lost.
RATE_EXPONENT = 0.28
# What is left of the inputs is weaker: ten corrections take as many steps at this multiple.
NULL_SPACE_RATE = 3.0
# A base of more parameters takes seconds a step, so that its checkpoints are this many steps apart
# and it stops when it has learned. The built-in base needs the fall of the learning rate at its
# end: stopped after 37 of 90 steps it kept 96 % instead of 99 % of its answers.
LARGE, CHECKPOINT_STEPS = 2e7, 5
# Such a base needs fewer wordings of a question to understand others.
MOST_WORDINGS = 6


class TrainingPlan(msgspec.Struct, frozen=True, kw_only=True):
    """`plan.json` of a training, written before it starts: all that is needed to resume it.

    `examples`: the examples as they are taught. `taught`: the questions to be recalled. `known`:
    the answers to be kept. `parent`: the adapter that the training continues.
    """

    examples: list[RatedExample]
    taught: list[KnownAnswer]
    known: list[KnownAnswer]
    settings: TeachingSettings
    parent: str | None = None


def read_plan(folder: Path) -> TrainingPlan:
    """Reads the plan of a training. Raises `UserError` where it cannot be read."""
    try:
        return msgspec.json.decode((folder / PLAN).read_bytes(), type=TrainingPlan)
    except (OSError, *BAD_CONTENT) as error:
        raise UserError(f"the training's plan {folder / PLAN} cannot be read: {error}", 1) from None


def null_space_share(reserve: RetentionReserve, settings: TeachingSettings) -> float:
    """The share of input directions that the adapter does not read; 0 where there are no answers
    to measure them."""
    return settings.null_space if reserve.null_space else 0.0


def parent_adapter(
    adapters: AdapterStore,
    base: str,
    base_hash: str | None,
    settings: TeachingSettings,
    null_space: float,
) -> str | None:
    """The adapter that a training continues, or None for a new one.

    It is the single active adapter, if it was trained on the same base with the rank, scale and
    target modules of the settings and the same `null_space`.
    """
    live = adapters.live(base)
    if len(live) != 1 or next(iter(live.values())) != 1.0:
        return None
    name = next(iter(live))
    info = adapters.get(name)
    wanted = (settings.rank, settings.alpha, settings.target_modules, base_hash, null_space)
    lora = info.lora
    found = (lora.rank, lora.alpha, lora.target_modules, info.base_hash, info.null_space)
    same = found == wanted
    return name if same else None


def write_plan(
    folder: Path,
    examples: Sequence[RatedExample],
    corrections: Sequence[RatedExample],
    reserve: RetentionReserve,
    settings: TeachingSettings,
    ready: ModelReady,
    start: tuple[str, Path] | None,
) -> Job:
    """Writes a training's files into `folder` and returns its job.

    `corrections`: what is taught of all its `examples`. `start`: name and folder of the adapter
    to continue; without one, earlier corrections are trained again with the new ones. Raises
    `UserError` for settings that are not possible here.
    """
    check_possible(settings, ready)
    tokens = min(LONGEST, ready.context or LONGEST)
    checked = questions_to_check(reserve, SEED)
    if not settings.retain_weight:  # the base's answers are replayed as they are
        unasked = [*reserve.unasked, *reserve.retained]
        reserve = dataclasses.replace(reserve, unasked=unasked, retained=[])
    large = ready.parameters > LARGE
    wordings = min(settings.rewordings, MOST_WORDINGS) if large else settings.rewordings
    rows = training_rows(corrections, tokens, wordings, loose=not large, grouped=large)
    if start is None:
        again = [
            row(item.turns, item.answer, group=f"earlier {number}" if large else "")
            for number, item in enumerate(reserve.earlier, start=1)
        ]
        rows += again * (AS_ASKED + wordings)
    write_rows(folder / "train.jsonl", rows)
    replayed = replay_rows(reserve, SEED) if settings.replay else []
    if replayed:
        write_rows(folder / "replay.jsonl", replayed)
    asked = [example.question for example in corrections]
    retained = retained_rows(reserve, asked, SEED)
    if retained:
        write_rows(folder / "retain.jsonl", retained)
    share = null_space_share(reserve, settings)
    if share:
        unread = [row(item.turns, item.answer) for item in reserve.null_space]
        write_rows(folder / "null_space.jsonl", unread)
    plan = TrainingPlan(
        examples=list(examples),
        taught=[
            KnownAnswer(turns=e.turns, answer=e.right_answer or "", source="taught")
            for e in corrections
        ],
        known=checked,
        settings=settings,
        parent=start[0] if start else None,
    )
    atomic.write_json(folder / PLAN, plan)
    count = len(corrections) + (0 if start else len(reserve.earlier))
    job = Job(
        name=f"teach-{folder.name}",
        model=ready.model,
        quantization=settings.quantization,
        data=DataSettings(
            train=str(folder / "train.jsonl"),
            replay=str(folder / "replay.jsonl") if replayed else None,
            replay_per_step=replayed_per_step(settings, reserve) if replayed else 0,
            retain=str(folder / "retain.jsonl") if retained else None,
            retain_per_step=RETAINED_PER_STEP if retained else 0,
            retain_weight=settings.retain_weight,
            null_space=str(folder / "null_space.jsonl") if share else None,
            null_space_share=settings.null_space,
            max_length=tokens,
        ),
        lora=_lora(settings, copy_adapter(start[1], folder / START) if start else None),
        training=_training(
            settings, count, ready, continued=start is not None, reading_less=share > 0
        ),
    )
    return jobs.check_job(msgspec.to_builtins(job), folder, "the training")


def check_possible(settings: TeachingSettings, ready: ModelReady) -> None:
    """Raise `UserError` for a precision or quantization that is not possible here."""
    if settings.precision == "fp16" and not ready.device.startswith("cuda"):
        raise UserError(
            'teaching.precision = "fp16" needs an NVIDIA GPU, and the device here is '
            f'{ready.device}; use "auto", "bf16" or "fp32"'
        )
    problem = job_checks.quantization_problem("teaching.quantization", settings.quantization)
    if problem is not None:
        raise UserError(problem)


def precision(settings: TeachingSettings, ready: ModelReady) -> Precision:
    """The precision of a training: as set, else that of the chat's base."""
    if settings.precision != "auto":
        return settings.precision
    return "bf16" if ready.dtype == "bfloat16" else "fp32"


def expected_seconds(folder: Path, job: Job, ready: ModelReady, cores: int) -> float:
    """About how long a planned training will take: the usual number of steps until its answers are
    learned, at 4 operations per parameter and token (a forward pass, and a backward pass without
    gradients of the frozen weights), and a second forward pass for retained answers."""
    tokens = 0.0
    for name, per_step, passes in (
        ("train", job.training.batch_size, 1.0),
        ("replay", job.data.replay_per_step, 1.0),
        ("retain", job.data.retain_per_step, 1.5),
    ):
        file = folder / f"{name}.jsonl"
        if per_step and file.is_file():
            lines = file.read_bytes().splitlines()
            mean = sum(map(len, lines)) / len(lines) / _BYTES_PER_TOKEN
            tokens += passes * min(per_step, len(lines)) * (mean + _TEMPLATE_TOKENS)
    steps = job.training.max_steps or USUAL_STEPS
    steps = min(USUAL_STEPS, steps) if job.training.stop_when_learned else steps
    speed = GPU_SPEED if ready.device.startswith("cuda") else THREAD_SPEED * cores
    return steps * tokens * 4 * ready.parameters / speed


def learning_rate(
    settings: TeachingSettings, parameters: int, *, continued: bool, reading_less: bool = False
) -> float:
    """The learning rate: as set, else as measured on the built-in base, lower for larger bases, by
    `RATE_EXPONENT` of their number of parameters; `NULL_SPACE_RATE` times that for an adapter that
    does not read all input directions.

    A continued adapter is trained at half the rate: six trainings in a row kept 97 % of the
    golden answers at half the rate, 91 % at the full one.
    """
    if settings.learning_rate is not None:
        return settings.learning_rate
    size: float = (MEASURED_PARAMETERS / max(parameters, 1)) ** RATE_EXPONENT
    rate = MEASURED_RATE * min(1.0, size) * (0.5 if continued else 1.0)
    return NULL_SPACE_RATE * rate if reading_less else rate


def replayed_per_step(settings: TeachingSettings, reserve: RetentionReserve) -> int:
    """Replayed answers per step: those of earlier corrections are added to the others, whose place
    the base's own answers take where they are retained."""
    others = 0 if reserve.retained and not reserve.unasked else settings.replay
    return others + (round(settings.replay * EARLIER_SHARE) if reserve.earlier else 0)


def _lora(settings: TeachingSettings, start: Path | None) -> LoraSettings:
    return LoraSettings(
        rank=settings.rank,
        alpha=settings.alpha,
        dropout=0.0,  # corrections are to be memorised
        target_modules=settings.target_modules,
        start_from=None if start is None else str(start),
    )


def _training(
    settings: TeachingSettings,
    count: int,
    ready: ModelReady,
    *,
    continued: bool,
    reading_less: bool,
) -> TrainingSettings:
    steps = settings.epochs * math.ceil(count / settings.batch_size)
    until_learned = settings.stop_when_learned > 0 and ready.parameters > LARGE
    return TrainingSettings(
        max_steps=steps,
        batch_size=settings.batch_size,
        learning_rate=learning_rate(
            settings, ready.parameters, continued=continued, reading_less=reading_less
        ),
        # Nobody knows in advance which step is the last one.
        scheduler="constant" if until_learned else "cosine",
        warmup_steps=min(WARMUP_STEPS, steps // 4),
        eval_every=0,
        checkpoint_every=CHECKPOINT_STEPS if ready.parameters > LARGE else max(20, steps // 2),
        keep_checkpoints=1,
        stop_when_learned=settings.stop_when_learned if until_learned else 0,
        precision=precision(settings, ready),
        gradient_checkpointing=settings.gradient_checkpointing,
        seed=SEED,
    )


def copy_adapter(adapter: Path, target: Path) -> Path:
    """Copies an adapter that is continued or checked, as its own files may go meanwhile."""
    shutil.rmtree(target, ignore_errors=True)
    paths.make_private_dir(target)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copyfile(adapter / name, target / name)
    return target
