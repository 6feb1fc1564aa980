"""Preparation of a training: from a run folder to a session that is ready to train."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tui_trainer.advisor.event_history import read_events
from tui_trainer.contracts.best_metric import metric_of
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Job
from tui_trainer.contracts.runs.run import Command, RunInfo
from tui_trainer.engine import recovery
from tui_trainer.engine.advice import observe
from tui_trainer.engine.checkpoints import best, checkpoint
from tui_trainer.engine.data.augment import Augmenter, make_rewriter
from tui_trainer.engine.data.batching import BatchPlan
from tui_trainer.engine.data.dataset import Dataset, load_dataset
from tui_trainer.engine.data.tokens.tokenizer_pool import ProgressCallback
from tui_trainer.engine.distributed.dist_env import process_rank
from tui_trainer.engine.execute_commands import refuse_lapsed
from tui_trainer.engine.loss import CLASSIFICATION, choose_forward_mode
from tui_trainer.engine.optimizer import build_optimizer
from tui_trainer.engine.process import background
from tui_trainer.engine.process.malloc_tuning import keep_pages
from tui_trainer.engine.records import data_report
from tui_trainer.engine.records.run_reporter import RunReporter
from tui_trainer.engine.records.step_profile import StepProfile
from tui_trainer.engine.state.command_source import CommandSource, rates_to_replay
from tui_trainer.engine.state.ranks import Ranks
from tui_trainer.engine.state.session import Session, TrainerState
from tui_trainer.engine.teaching import null_space
from tui_trainer.engine.teaching.learned_answers import LearnedAnswers
from tui_trainer.engine.validation.sample_answers import sample_prompts
from tui_trainer.models import base_model, lora_train
from tui_trainer.models.completeness import notices
from tui_trainer.models.kernels import cpu_matmul, fused_ops
from tui_trainer.store import base_names
from tui_trainer.store.runs import checkpoints
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.text.formats import count, plural

# Operations of one matrix product below which several threads cost more time than they save.
_LEAST_SHARED = 2e8
_PROGRESS_SECONDS = 0.5


def prepare(
    folder: RunFolder,
    info: RunInfo,
    report: RunReporter,
    control: CommandSource,
    from_checkpoint: str | None,
    ranks: Ranks | None = None,
) -> Session:
    """Load base, data and the checkpoint to resume from, if any. Raises `UserError`."""
    ranks = ranks or Ranks()
    job = info.job
    metric_of(job)  # raises for a metric that the task does not have
    checkpoints.clear_leftovers(folder.checkpoints_dir)
    start = checkpoints.find_checkpoint(folder, from_checkpoint)
    data_report.report_findings(report, job, ranks.process.size, resumed=start is not None)
    keep_pages()
    torch.set_num_threads(usable_threads())
    torch.manual_seed(job.training.seed)

    enter(report, control, f"loading the tokenizer of {job.model}")
    tokenizer = base_model.load_tokenizer(job.model, trust_remote_code=job.trust_remote_code)
    enter(report, control, "reading the data")
    augmenter = _augmenter(folder, job, report, control)
    dataset = load_dataset(
        job, tokenizer, augmenter, _progress(report, control, "tokenising: {} of {}", "row")
    )
    data_report.check_unchanged(folder, info, dataset)
    data_report.check_left_out(job, dataset, resumed=start is not None)
    enter(report, control, f"loading {job.model}")
    ranks.broadcast("prepare", info=info)  # after the data is known to be valid
    session = _build(folder, info, tokenizer, dataset, report, control, ranks)
    _announce(session)
    refuse_lapsed(session)
    ranks.start(session.replica())
    if start is not None:
        _resume_from(session, start, rewound=from_checkpoint is not None)
    else:
        report.accept_resume()
        report.set_position(0, 0.0)
        report.set_best(None, None, None)
    if start is None and folder.metrics_file.stat().st_size:
        _restart(session, rewound=from_checkpoint is not None)
    observe.begin(session)
    return session


def _build(
    folder: RunFolder,
    info: RunInfo,
    tokenizer: Any,
    dataset: Dataset,
    report: RunReporter,
    control: CommandSource,
    ranks: Ranks,
) -> Session:
    """Build the session with model and optimizer, before its first step. Raises `UserError`."""
    job = info.job
    device = base_model.pick_device()
    loaded, model = _load_model(
        info, dataset, tokenizer, ranks.loading_device(device, job.training)
    )
    ranks.shard(loaded, device, job.training)
    parameters = lora_train.trainable(model)
    measuring = _progress(report, control, "measuring what the base reads: {} of {}", "answer")
    readable = null_space.of_job(info, dataset.null_space, model, parameters, measuring)
    forward_mode = CLASSIFICATION if dataset.labels else choose_forward_mode(loaded)
    cpu_matmul.install(model)
    fused_ops.install(model)
    plan = BatchPlan(
        dataset.train,
        job.training,
        dataset.replay,
        job.data.replay_per_step,
        dataset.retain,
        job.data.retain_per_step if dataset.retain else 0,
    )
    steps_in_a_row = job.training.stop_when_learned
    session = Session(
        folder=folder,
        info=info,
        job=job,
        device=device,
        tokenizer=tokenizer,
        model=model,
        forward_mode=forward_mode,
        base_reference=base_names.portable(info),
        parameters=parameters,
        optimizer=build_optimizer(parameters, job.training),
        scaler=torch.amp.GradScaler(device.type, enabled=job.training.precision == "fp16"),
        dataset=dataset,
        plan=plan,
        state=TrainerState(
            threads=torch.get_num_threads(),
            processes=ranks.process.size,
            examples=len(dataset.train),
        ),
        report=report,
        control=control,
        step_profile=StepProfile(device),
        ranks=ranks,
        learned=LearnedAnswers(dataset.train, steps_in_a_row) if steps_in_a_row else None,
        null_space=readable,
        sample_prompts=sample_prompts(job, loaded, tokenizer),
    )
    session.step_profile.set_model(model, job.training.precision, ranks.process.size)
    return session


def _augmenter(
    folder: RunFolder, job: Job, report: RunReporter, control: CommandSource
) -> Augmenter | None:
    """Return what rewrites rows where the job asks for it; a stop or cancel ends it."""
    if job.data.augment == "none":
        return None
    is_due = _rate_limit()

    def on_progress(done: int, total: int) -> bool:
        if not is_due():
            return False
        message = f"{job.data.augment}: {count(done)} of {plural(total, 'row')} rewritten"
        report.set_state("preparing", message)
        return control.end_command() is not None

    device = base_model.pick_device()
    dtype = weights_type(job.training.precision, device)
    rewrite = make_rewriter(device, dtype, job.trust_remote_code, on_progress)
    raise_stopped = partial(enter, report, control, "reading the data")
    return Augmenter(job, folder.augmented_file, rewrite, raise_stopped)


def _progress(
    report: RunReporter, control: CommandSource, text: str, unit: str
) -> ProgressCallback:
    """Return a callback that reports how much of a part of the preparation is done, `text` with
    the done and all units; a stop or cancel ends it."""
    is_due = _rate_limit()
    is_due()  # the first report comes after the interval

    def on_progress(done: int, total: int) -> None:
        if is_due():
            enter(report, control, text.format(count(done), plural(total, unit)))

    return on_progress


def _rate_limit() -> Callable[[], bool]:
    """Return a function that is True at most once every `_PROGRESS_SECONDS`."""
    last = -math.inf

    def is_due() -> bool:
        nonlocal last
        if time.monotonic() - last < _PROGRESS_SECONDS:
            return False
        last = time.monotonic()
        return True

    return is_due


def _load_model(info: RunInfo, dataset: Dataset, tokenizer: Any, device: torch.device) -> Any:
    """Return the base, and the same with its adapter. Raises `UserError`."""
    job = info.job
    dtype = weights_type(job.training.precision, device)
    labels = dataset.labels or None
    loaded = base_model.load_base(
        job.model,
        device,
        dtype,
        labels=labels,
        four_bit=job.quantization == "nf4",
        trust_remote_code=job.trust_remote_code,
        not_finite=info.base_not_finite,
    )
    check_lengths(loaded, dataset)
    if labels:
        loaded.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    torch.set_num_threads(worthwhile_threads(job, dataset, loaded))
    model = lora_train.attach(loaded, job.lora)
    if job.lora.start_from is not None:
        lora_train.load_weights(model, lora_train.read_weights(Path(job.lora.start_from), job.lora))
    if job.training.gradient_checkpointing:
        checkpoint_gradients(loaded, True)
    return loaded, model


def checkpoint_gradients(base: Any, on: bool) -> None:
    """Turn gradient checkpointing on or off: keep only each layer's input for the backward pass,
    and recompute the rest. Raises `UserError` for a base without support."""
    if on and not getattr(base, "supports_gradient_checkpointing", False):
        raise UserError(
            "training.gradient_checkpointing = true is not possible with this base; set it to false"
        )
    if on:
        base.gradient_checkpointing_enable({"use_reentrant": False})
    else:
        base.gradient_checkpointing_disable()


def weights_type(precision: str, device: torch.device) -> torch.dtype:
    """Return the type of the frozen weights. Raises `UserError` where the device has no support."""
    if precision == "fp16" and device.type != "cuda":
        raise UserError(
            'training.precision = "fp16" needs an NVIDIA GPU, and the device here is '
            f'{device.type}; use "bf16" or "fp32"'
        )
    types = {"bf16": torch.bfloat16, "fp16": torch.float16}
    return types.get(precision, torch.float32)


class EndedEarlyError(Exception):
    """A stop or cancel reached the run before its first step."""

    def __init__(self, command: Command) -> None:
        super().__init__(command.command)
        self.command = command


def enter(report: RunReporter, control: CommandSource, message: str) -> None:
    """Report the next phase of the preparation; raise `EndedEarlyError` after a stop or cancel."""
    command = control.end_command()
    if command is not None:
        raise EndedEarlyError(command)
    report.set_state("preparing", message)


def usable_threads() -> int:
    """Return the number of CPUs for this process: those it may use, divided among the processes of
    the same run; in the background all but one."""
    known = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, background.cpus_of(known or 1) // process_rank().local_size)


def worthwhile_threads(job: Job, dataset: Dataset, model: Any) -> int:
    """Return 1 where a forward pass is too little work for several threads, else all usable ones.

    On two virtual cores the step of a taught correction took 96 ms with one thread and 117 ms with
    two. The number depends on job, data and base alone, so that a run's results are reproducible.
    """
    hidden = getattr(model.config.get_text_config(), "hidden_size", 0)
    examples = dataset.train
    mean = int(examples.lengths.sum()) / len(examples)
    extra = job.data.replay_per_step + job.data.retain_per_step
    tokens = mean * (job.training.batch_size + extra)
    operations = tokens * 8 * hidden**2  # of a layer's widest product
    return 1 if 0 < operations < _LEAST_SHARED else usable_threads()


def check_lengths(model: Any, dataset: Dataset) -> None:
    """Raise `UserError` where examples are longer than the base can read."""
    limit = getattr(model.config, "max_position_embeddings", None)
    parts = (dataset.train, dataset.validation, dataset.replay, dataset.retain, dataset.null_space)
    longest = max(int(part.lengths.max(initial=0)) for part in parts)
    if limit is not None and longest > limit:
        raise UserError(
            f"an example has {count(longest)} tokens and the base reads at most {count(limit)}; "
            f"set data.max_length to {limit} or less"
        )


def _resume_from(session: Session, start: Path, *, rewound: bool) -> None:
    checkpoint.load(session, start)
    session.report.accept_resume()  # what follows changes the run folder
    step = session.state.step
    if rewound:
        checkpoints.supersede_after(session.folder, step)
    session.report.set_position(step, session.plan.epoch(step))
    session.report.event(
        "resumed",
        step,
        f"resumed from {start.name}",
        detail={"path": str(start), "rewound": rewound},
    )
    best.settle(session)
    _replay_rates(session)


def _restart(session: Session, *, rewound: bool) -> None:
    """Restart from step 0, because there is no checkpoint yet or the user asked for it
    (`rewound`)."""
    message = "no checkpoint yet: restarted from step 0"
    if rewound:
        checkpoints.supersede_after(session.folder, -1)
        message = "restarted from step 0"
    checkpoints.forget_best(session.folder)
    session.report.event("resumed", 0, message, detail={"rewound": True} if rewound else {})
    _replay_rates(session)


def _replay_rates(session: Session) -> None:
    """Collect what `execute_commands` repeats after the checkpoint: the user's changes of rate and
    advice, and smaller passes where memory ran out."""
    events, step = session.folder.events(), session.state.step
    for changed_at, change in rates_to_replay(events, step, session.state.rolled_back):
        session.rates_to_replay.setdefault(changed_at, []).append(change)
    session.mutes_to_replay = [mute for mute in read_events(events).mutes if mute[0] >= step]
    session.pass_sizes_to_replay = recovery.pass_sizes_to_replay(events, step)


def _local_elements(value: Any) -> int:
    """Return the number of a tensor's elements in this process."""
    local = value.to_local() if hasattr(value, "to_local") else value
    return int(local.numel())


def _announce(session: Session) -> None:
    """Report facts that `run.json` does not contain, and the data."""
    report, plan, dataset = session.report, session.plan, session.dataset
    report.set_total(plan.total_steps, plan.epoch(plan.total_steps))
    trained = sum(p.numel() for p in session.parameters.values())
    frozen = sum(base_model.parameter_count(p) for p in session.model.parameters()) - trained
    revision = getattr(session.model.config, "_commit_hash", None)
    processes = session.ranks.process.size
    report.event(
        "setup",
        report.step,
        f"{count(len(dataset.train))} training and {count(len(dataset.validation))} validation "
        f"examples, {count(trained)} trainable and {count(frozen)} frozen parameters, "
        f"device {session.device.type}" + (f", {processes} processes" if processes > 1 else ""),
        detail={
            "train_examples": len(dataset.train),
            "validation_examples": len(dataset.validation),
            "trainable_parameters": trained,
            "base_parameters": frozen,
            "held_parameters": sum(_local_elements(p) for p in session.model.parameters())
            - trained,
            "device": str(session.device),
            "processes": processes,
            "threads": torch.get_num_threads(),
            "base_revision": revision,
            "usual_rate": observe.width_rate(session),
            "advised": observe.settings_of(session).enabled,
        },
    )
    if session.forward_mode.padded_because:
        reason = session.forward_mode.padded_because
        report.event(
            "warning", report.step, f"training is slower, as examples are padded: {reason}"
        )
    if dataset.null_space and session.job.data.null_space_share:
        kind, text = null_space.notice(session.null_space, len(dataset.null_space), session.job)
        report.event(kind, report.step, text)
    for notice in notices(session.model.get_base_model()):
        report.event("warning", report.step, notice)
    data_report.report_data(session.folder, report, dataset)
