"""Estimate of what a job needs: steps, seconds, memory and disk space.

Measured by a few real steps (forward, backward, update) of an adapter that is discarded, spread
over the run, the largest pass first. Time is that of these steps, scaled by the tokens of all
steps. Memory is that of the largest pass, or, where it would not fit, extrapolated linearly from
smaller passes. Disk space is that of a checkpoint that is written.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import psutil
import torch

from tui_trainer.contracts.errors import UserError, is_out_of_memory
from tui_trainer.contracts.estimate import Checkpointing, Estimate
from tui_trainer.contracts.job import Job
from tui_trainer.engine import loop
from tui_trainer.engine.advice import observe
from tui_trainer.engine.checkpoints import checkpoint, disk_space
from tui_trainer.engine.data import batching
from tui_trainer.engine.data.example import Example
from tui_trainer.engine.optimizer import set_learning_rate
from tui_trainer.engine.preflight import memory_use
from tui_trainer.engine.preflight.scratch_session import scratch_session
from tui_trainer.engine.records import step_records
from tui_trainer.engine.setup import checkpoint_gradients
from tui_trainer.engine.state.session import Session
from tui_trainer.engine.validation.evaluate import evaluate
from tui_trainer.models.completeness import notices
from tui_trainer.text import formats

Floats = npt.NDArray[np.float64]
PROBE_SECONDS = 12.0  # of measured steps, at most
PROBE_STEPS = (4, 40)  # measured steps, at least and at most
MOST_PLANNED = 20_000  # steps whose tokens are counted one by one
_RECORD_BYTES = 340  # a line of metrics.jsonl
_ADVISOR_BYTES = 2_000  # the advisor's state in a checkpoint, which is still empty when measured


@dataclass(frozen=True)
class StepLoad:
    """Tokens of the planned steps."""

    step_tokens: list[int]  # without padding, by step, of the first `MOST_PLANNED` steps
    largest: Sequence[Example]  # examples of the largest pass
    largest_tokens: int  # of the largest pass, with padding


@dataclass(frozen=True)
class MemoryEstimate:
    """Memory of the largest pass."""

    peak: int  # bytes
    fixed: int  # bytes that do not depend on the size of the pass
    per_token: float  # bytes per token of the pass, with padding
    measured: bool  # whether the largest pass was run; else extrapolated


def estimate(job: Job) -> Estimate:
    """Estimate what a job needs. Raises `UserError` as a run would."""
    with scratch_session(job) as session:
        try:
            return _estimate(session)
        except UserError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise UserError(
                    "even a small pass does not fit into memory: use a smaller base or a lower "
                    "data.max_length",
                    1,
                ) from error
            raise


def _estimate(session: Session) -> Estimate:
    startup = time.time() - psutil.Process().create_time()
    set_learning_rate(session.optimizer, 1e-6)
    load = look_ahead(session)
    available = memory_use.available_bytes(session.device)
    used = _probe_memory(session, load, available)
    fits, micro = _fit(session, load, used, available)
    seconds = _probe_steps(session, load)
    evaluations, evaluation_seconds = _probe_evaluation(session)
    size, saving = _probe_saving(session)
    peak = max(used.peak, memory_use.peak_bytes(session.device)) if used.measured else used.peak
    total = session.plan.total_steps
    checkpoints, disk = _disk(session, size, _saves(session))
    return Estimate(
        steps=total,
        epochs=session.plan.epoch(total),
        examples=len(session.dataset.train),
        tokens=round(float(np.mean(load.step_tokens)) * total),
        seconds=startup + seconds * total + evaluations * evaluation_seconds + saving * 2,
        startup_seconds=startup,
        step_seconds=seconds,
        evaluations=evaluations,
        evaluation_seconds=evaluation_seconds,
        peak_bytes=peak,
        base_bytes=sum(p.numel() * p.element_size() for p in session.model.parameters()),
        available_bytes=available,
        largest_pass=load.largest_tokens,
        disk_bytes=disk,
        checkpoint_bytes=size,
        checkpoints=checkpoints,
        checkpointing=_probe_checkpointing(session, load),
        device=str(session.device),
        measured=used.measured,
        fits=fits,
        micro_batch=micro,
        accumulation=None if micro is None else _effective(session) // micro,
        advice=[] if fits else _advice(session, micro),
        notices=[
            *notices(session.model.get_base_model()),
            *session.dataset.notices,
            *_processes_notice(session),
        ],
    )


def look_ahead(session: Session) -> StepLoad:
    """Count the tokens of the planned steps, and find the largest pass."""
    plan = session.plan
    tokens = []
    largest: Sequence[Example] = []
    most = 0
    for step in range(min(plan.total_steps, MOST_PLANNED)):
        passes = plan.passes(step)
        tokens.append(sum(len(e.input_ids) for group in passes for e in group))
        for group in passes:
            if (size := pass_tokens(session, group)) > most:
                largest, most = group, size
    return StepLoad(tokens, largest, most)


def pass_tokens(session: Session, group: Sequence[Example]) -> int:
    """Return the tokens of a pass, with padding."""
    lengths = [len(example.input_ids) for example in group]
    return sum(lengths) if session.forward_mode.packed else max(lengths) * len(lengths)


def _probe_memory(session: Session, load: StepLoad, available: int) -> MemoryEstimate:
    """Measure two small passes, extrapolate, and run the largest pass where it seems to fit."""
    one = load.largest[-1:]
    few = load.largest[: max(1, len(load.largest) // 4)]
    points = []
    for group in (one, few):
        kept = memory_use.saved_bytes(lambda group=group: loop.forward_backward(session, [group]))  # type: ignore[misc]
        points.append((pass_tokens(session, group), kept))
    loop.update(
        session, torch.zeros(2, device=session.device), [one]
    )  # allocates the optimizer's memory
    (least, small), (more, large) = points
    per_token = (large - small) / (more - least) if more > least else small / least
    # The backward pass adds gradients to what the forward pass has saved: half as much at its peak.
    per_token *= 1.5
    before = memory_use.peak_bytes(session.device)
    fixed = max(0, int(before - per_token * more))
    expected = int(fixed + per_token * load.largest_tokens)
    if expected > memory_use.SHARE * available:
        return MemoryEstimate(expected, fixed, per_token, measured=False)
    loop.update(session, loop.forward_backward(session, [load.largest]), [load.largest])
    return MemoryEstimate(memory_use.peak_bytes(session.device), fixed, per_token, measured=True)


def _processes_notice(session: Session) -> list[str]:
    """Return a notice that the estimate of a run of several processes is for one."""
    if session.job.training.processes == 1:
        return []
    return ["estimated for one process; with several, each needs less time and memory"]


def _micro_batch(
    session: Session, load: StepLoad, used: MemoryEstimate, available: int
) -> int | None:
    """Return the largest number of examples per pass that fits and divides the step's examples, so
    that the step stays the same; None where not even one example fits."""
    ordered = batching.longest_first(load.largest)
    for size in range(len(ordered), 0, -1):
        needed = used.fixed + used.per_token * pass_tokens(session, ordered[:size])
        if _effective(session) % size == 0 and needed <= memory_use.SHARE * available:
            return size
    return None


def _effective(session: Session) -> int:
    """Return the examples per step."""
    settings = session.job.training
    return settings.batch_size * settings.gradient_accumulation_steps


def _advice(session: Session, micro: int | None) -> list[str]:
    """Return changes of the job with which it fits into memory."""
    if micro is not None:
        accumulation = _effective(session) // micro
        return [
            f"set training.batch_size = {micro} and training.gradient_accumulation_steps = "
            f"{accumulation}: the step stays the same"
        ]
    settings = session.job.training
    found = []
    if not settings.gradient_checkpointing:
        found.append("set training.gradient_checkpointing = true: less memory, more time")
    if settings.precision == "fp32":
        found.append('set training.precision = "bf16": half the memory of the base')
    found.append(
        f"set data.max_length below {formats.count(session.job.data.max_length)}, or use a smaller "
        "base"
    )
    return found


def _probe_checkpointing(session: Session, load: StepLoad) -> Checkpointing | None:
    """Measure gradient checkpointing on a quarter of the largest pass; None for a base without."""
    base, on = session.model.get_base_model(), session.job.training.gradient_checkpointing
    if not getattr(base, "supports_gradient_checkpointing", False):
        return None
    group = load.largest[: max(1, len(load.largest) // 4)]
    kept, seconds = {}, {}
    for enabled in (False, True):
        checkpoint_gradients(base, enabled)
        kept[enabled] = memory_use.saved_bytes(
            lambda: loop.forward_backward(session, [group]), session.model
        )
        seconds[enabled] = min(_seconds_of(session, group) for _ in range(3))
    checkpoint_gradients(base, on)
    session.optimizer.zero_grad(set_to_none=True)
    share = load.largest_tokens / pass_tokens(session, group)
    return Checkpointing(
        kept_bytes=round(kept[False] * share),
        kept_bytes_with=round(kept[True] * share),
        time_factor=seconds[True] / seconds[False],
    )


def _seconds_of(session: Session, group: Sequence[Example]) -> float:
    started = time.perf_counter()
    loop.forward_backward(session, [group])[0].item()  # waits for a GPU
    return time.perf_counter() - started


def _fit(
    session: Session, load: StepLoad, used: MemoryEstimate, available: int
) -> tuple[bool, int | None]:
    """Return whether the largest pass fits, and else how many examples do; the session uses that
    many per pass from now on."""
    fits = used.peak <= memory_use.SHARE * available
    micro = None if fits else _micro_batch(session, load, used, available)
    session.state.micro_batch = None if fits else micro or 1
    return fits, micro


def _probe_steps(session: Session, load: StepLoad) -> float:
    """Return the mean seconds of a step, measured on steps spread over the plan and scaled to the
    mean tokens of all steps."""
    least, most = PROBE_STEPS
    total = len(load.step_tokens)
    chosen = np.linspace(0, total - 1, min(most, max(least, total))).astype(int).tolist()
    np.random.default_rng(0).shuffle(chosen)  # spreads a slow minute over the plan
    session.state.step = chosen[0]
    loop.step(session)
    times, tokens = [], []
    until = time.monotonic() + PROBE_SECONDS
    for number, step in enumerate(chosen):
        if number >= least and time.monotonic() > until:
            break
        session.state.step = step
        started = time.perf_counter()
        loop.step(session)
        times.append(time.perf_counter() - started)
        tokens.append(load.step_tokens[step])
    return scaled_mean(times, tokens, float(np.mean(load.step_tokens)))


def scaled_mean(seconds: list[float], tokens: list[int], mean_tokens: float) -> float:
    """Return the seconds at `mean_tokens`, from a line fitted to the measured steps. Steps that
    took more than 1.5 times what the line gives are left out of a second fit: other programs were
    running."""
    measured, lengths = np.array(seconds), np.array(tokens, dtype=np.float64)
    slope, start = _line(measured, lengths)
    usual = measured <= 1.5 * (start + slope * lengths)
    slope, start = _line(measured[usual], lengths[usual])
    return float(start + slope * mean_tokens)


def _line(seconds: Floats, tokens: Floats) -> tuple[float, float]:
    """Return seconds per token and seconds at 0 tokens. A fitted line must rise and not start below
    zero; else seconds are taken as proportional to tokens."""
    if len(seconds) >= 6 and np.ptp(tokens) > 0.2 * tokens.mean():
        slope, start = np.polyfit(tokens, seconds, 1)
        if slope > 0 and start >= 0:
            return float(slope), float(start)
    return float(seconds.mean() / tokens.mean()), 0.0


def _probe_evaluation(session: Session) -> tuple[int, float]:
    """Return the number of evaluations, and the seconds of one, measured on a part of the data."""
    session.state.step = 0
    validation = session.dataset.validation
    if not validation:
        return 0, 0.0
    size = session.pass_size
    part = max(1, math.ceil(len(validation) / 16 / size)) * size
    order = np.argsort(-validation.lengths, kind="stable")  # the longest first
    sample = validation.take(order[:: max(1, len(validation) // part)])
    whole = session.dataset
    session.dataset = replace(whole, validation=sample)
    try:
        started = time.perf_counter()
        evaluate(session)
        seconds = time.perf_counter() - started
    finally:
        session.dataset = whole
    tokens = [int(examples.lengths.sum()) for examples in (validation, sample)]
    return step_records.evaluations_left(session), seconds * tokens[0] / tokens[1]


def _probe_saving(session: Session) -> tuple[int, float]:
    """Return the bytes and seconds of a checkpoint."""
    started = time.monotonic()
    checkpoint.save(session)
    seconds = time.monotonic() - started
    files = [file for file in session.folder.checkpoints_dir.rglob("*") if file.is_file()]
    advice = _ADVISOR_BYTES if observe.settings_of(session).enabled else 0
    return sum(file.stat().st_size for file in files) + advice, seconds


def _saves(session: Session) -> int:
    """Return how many checkpoints the run writes, if every evaluation is the best so far."""
    settings, total = session.job.training, session.plan.total_steps
    steps = {total}
    for every in (
        settings.checkpoint_every,
        settings.eval_every * bool(session.dataset.validation),
    ):
        if every:
            steps.update(range(every, total + 1, every))
    return len(steps)


def _disk(session: Session, checkpoint_bytes: int, made: int) -> tuple[int, int]:
    """Return the most checkpoints on the disk at a time (one more than are kept, until it is
    deleted) and the most bytes, then or at the end with the adapter. The best checkpoint counts
    half, as it may be one of the newest or not."""
    keep = session.job.training.keep_checkpoints
    if observe.settings_of(session).auto_apply:
        keep, made = keep + checkpoint.MOST_SPARED, made + 1  # one at the start
    weights = sum(p.numel() * p.element_size() for p in session.parameters.values())
    adapter = weights + disk_space.tokenizer_bytes(session)
    most = min(made, keep + 1)
    best = checkpoint_bytes // 2 if made > most and session.dataset.validation else 0
    bytes_ = max(most * checkpoint_bytes + best, min(made, keep) * checkpoint_bytes + adapter)
    return most, bytes_ + session.plan.total_steps * _RECORD_BYTES + 20_000
