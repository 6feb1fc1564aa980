"""What the advisor remembers of a run: bounded, and plain enough to be saved as JSON."""

from __future__ import annotations

import math

import msgspec

from tui_trainer.advisor import robust_stats
from tui_trainer.advisor.record_values import RecordValues
from tui_trainer.contracts.advice import Advice

RECORDS = 64  # newest rows kept
BLOCK = 8  # rows summed up as one block
BLOCKS = 48  # newest blocks kept
EVALUATIONS = 64
# A block's median of white noise scatters by 0.44 of a row's deviation; where it scatters more,
# the loss wanders slowly, and rows say too little of its noise.
WANDER = 1 / 0.44
TRIFLE = 0.05  # share of all that was learned whose loss is no reason to act
COARSE = 48  # most points of the whole run's curve
EARLY = 8  # rows that say where the loss began


class Block(msgspec.Struct):
    """A stretch of rows: medians of loss and log gradient norm, and the noise on both."""

    last_step: int
    level: float
    noise: float
    log_norm: float | None
    norm_noise: float | None
    rate: float | None


class EvaluationPoint(msgspec.Struct):
    """One evaluation, and the training loss around it."""

    step: int
    val_loss: float
    train_level: float
    train_noise: float = 0.0  # of that level, a median of 8


class OpenAdvice(msgspec.Struct):
    """An advice that is not closed yet; `quiet` counts rows since its cause was last seen."""

    advice: Advice
    quiet: int = 0
    said_at: int = 0


class Reference(msgspec.Struct):
    """What is normal, from blocks before now: the lowest recent level of the loss and its
    noise, the median log gradient norm and its noise. `ready` once there were two blocks."""

    ready: bool = False
    begun: bool = False  # a provisional level was taken
    level: float = 0.0
    step: int = 0
    noise: float = 0.0
    rate: float | None = None
    log_norm: float | None = None
    norm_noise: float = 0.0
    norm_ceiling: float = 0.0  # the highest recent block's log norm
    wobble: float | None = None  # noise of the loss some blocks ago
    norm_wobble: float | None = None


class AdvisorState(msgspec.Struct):
    """Everything that is remembered. Lists are oldest first."""

    rows: int = 0
    step: int = 0
    first_step: int = 0
    first_losses: list[float] = msgspec.field(default_factory=list)
    first: float = 0.0  # median of the first losses
    steps: list[int] = msgspec.field(default_factory=list)
    losses: list[float] = msgspec.field(default_factory=list)
    norms: list[float] = msgspec.field(default_factory=list)  # log of the gradient norm
    norm_rows: int = 0
    rate: float | None = None
    former_rate: float | None = None  # before the newest abrupt fall
    fell_at: int | None = None  # the row of that fall
    raised_at: int | None = None  # the row at which the rate rose abruptly
    peak_rate: float = 0.0
    peak_row: int = 0  # the row at which the rate last rose
    warm_steps: int = 0  # steps for which the rate rose
    filled: int = 0  # rows in the block that is being filled
    blocks: list[Block] = msgspec.field(default_factory=list)
    coarse: list[float] = msgspec.field(default_factory=list)  # the whole run's curve
    coarse_span: int = 4  # blocks per point of it
    coarse_sum: float = 0.0
    coarse_count: int = 0
    reference: Reference = msgspec.field(default_factory=Reference)
    frozen: bool = False  # the reference stands still while the loss diverges
    risen: float = 0.0  # cumulative sum of the loss above its reference
    tiny: int = 0  # rows in a row with a vanishing gradient
    evaluations: list[EvaluationPoint] = msgspec.field(default_factory=list)
    step_times: list[float] = msgspec.field(default_factory=list)
    data_shares: list[float] = msgspec.field(default_factory=list)
    memory_shares: list[float] = msgspec.field(default_factory=list)
    last_time: float | None = None
    open: dict[str, OpenAdvice] = msgspec.field(default_factory=dict)
    raised: int = 0
    muted: list[str] = msgspec.field(default_factory=list)


def note(memory: AdvisorState, reading: RecordValues) -> None:
    """Takes in a training row with a finite loss. Rules look at it afterwards, except that the
    block it completes is added by `close_block`, so that rules compare it with what was before."""
    loss = reading.loss
    if loss is None:
        return
    memory.rows += 1
    if memory.rows == 1:
        memory.first_step = memory.step
    if len(memory.first_losses) < EARLY:
        memory.first_losses.append(loss)
        memory.first = robust_stats.median(memory.first_losses[:4])
    _push(memory.steps, memory.step, RECORDS)
    _push(memory.losses, loss, RECORDS)
    norm = reading.gradient_norm
    if norm is not None and norm >= 0:
        memory.norm_rows += 1
        _push(memory.norms, math.log(max(norm, 1e-12)), RECORDS)
    if reading.learning_rate is not None and reading.learning_rate >= 0:
        _note_rate(memory, reading.learning_rate)
    memory.filled += 1


def _note_rate(memory: AdvisorState, rate: float) -> None:
    before = memory.rate
    memory.rate = rate
    # A warmup of few steps doubles the rate too, so the first rows do not count.
    if before is not None and 2 * before < rate and memory.rows > 16:
        if rate > 1.2 * memory.peak_rate:
            memory.raised_at = memory.rows
        elif not memory.frozen:
            # A warm restart: the loss will rise with the rate, and has to be learned again.
            memory.blocks, memory.reference = [], Reference()
            memory.filled, memory.risen = 0, 0.0
    if before is not None and rate > before * 1.0001:
        if memory.fell_at is None and memory.warm_steps == memory.rows - 2:
            memory.warm_steps += 1
        if memory.former_rate is not None and rate > 0.5 * memory.former_rate:
            memory.former_rate = memory.fell_at = None
    elif before is not None and 0 < rate < before / 5:
        memory.former_rate, memory.fell_at = before, memory.rows
    if rate > memory.peak_rate * 1.0001:
        memory.peak_rate, memory.peak_row = rate, memory.rows


def close_block(memory: AdvisorState) -> bool:
    """Adds the block that the newest row completed, if it did, and renews the reference."""
    if memory.filled < BLOCK:
        return False
    memory.filled = 0
    losses = memory.losses[-BLOCK:]
    # Norms that came in fewer rows than losses are judged over the newest ones that there are.
    norms = memory.norms[-BLOCK:] if memory.norm_rows >= BLOCK else []
    block = Block(
        last_step=memory.step,
        level=robust_stats.median(losses),
        noise=robust_stats.noise(losses),
        log_norm=robust_stats.median(norms) if norms else None,
        norm_noise=robust_stats.noise(norms) if norms else None,
        rate=memory.rate,
    )
    _push(memory.blocks, block, BLOCKS)
    _extend_curve(memory, block.level)
    if not memory.frozen and len(memory.blocks) >= 2:
        _renew(memory)
    return True


def _extend_curve(memory: AdvisorState, level: float) -> None:
    """Points are means of block levels; a full curve is halved, so that it always spans the run."""
    memory.coarse_sum += level
    memory.coarse_count += 1
    if memory.coarse_count < memory.coarse_span:
        return
    memory.coarse.append(memory.coarse_sum / memory.coarse_count)
    memory.coarse_sum, memory.coarse_count = 0.0, 0
    if len(memory.coarse) >= COARSE:
        curve = memory.coarse
        memory.coarse = [(a + b) / 2 for a, b in zip(curve[::2], curve[1::2], strict=True)]
        memory.coarse_span *= 2


def _renew(memory: AdvisorState) -> None:
    """The reference from the newest blocks: levels of 16, norms of 4, wobble of those before
    the newest 2."""
    recent = memory.blocks[-16:]
    lowest = min(recent, key=lambda block: block.level)
    reference = Reference(
        ready=True,
        level=lowest.level,
        step=lowest.last_step,
        noise=max(
            robust_stats.median([block.noise for block in recent]),
            WANDER * robust_stats.wander([block.level for block in recent]),
        ),
        rate=lowest.rate,
    )
    logs = [block.log_norm for block in recent if block.log_norm is not None]
    noises = [block.norm_noise for block in recent if block.norm_noise is not None]
    if logs:
        reference.log_norm = robust_stats.median(logs[-4:])
        reference.norm_ceiling = max(logs)
        reference.norm_noise = robust_stats.median(noises)
    earlier = memory.blocks[-18:-2]
    if len(earlier) >= 4:
        reference.wobble = robust_stats.median([block.noise for block in earlier])
        wobbles = [block.norm_noise for block in earlier if block.norm_noise is not None]
        reference.norm_wobble = robust_stats.median(wobbles) if len(wobbles) >= 4 else None
    memory.reference = reference


def scale(memory: AdvisorState) -> float:
    """The unit in which a rise of the loss is measured: its noise, but not less than a few
    percent of the level or than a trifle of all that was learned."""
    reference = memory.reference
    learned = max(memory.first - reference.level, 0.0)
    return max(reference.noise, 0.02 * abs(reference.level), 0.005 * learned, 1e-9)


def _push(values: list, value: object, most: int) -> None:  # type: ignore[type-arg]
    values.append(value)
    if len(values) > most:
        del values[0]
