"""The advisor's state: bounded, and made of plain values that are saved as JSON."""

from __future__ import annotations

import math

import msgspec

from tui_trainer.advisor import robust_stats
from tui_trainer.advisor.record_values import RecordValues
from tui_trainer.contracts.advice import Advice

ROWS_KEPT = 64  # newest rows
BLOCK_ROWS = 8  # rows summarised as one block
BLOCKS_KEPT = 48  # newest blocks
EVALUATIONS_KEPT = 64
# The median of a block of white noise has 0.44 of a row's standard deviation. Where block medians
# scatter more, the loss varies slowly, and the rows alone underestimate its noise.
ROWS_PER_BLOCK_NOISE = 1 / 0.44
# A rise of the loss by less than this share of all that was learned is no reason to act.
NEGLIGIBLE = 0.05
MOST_CURVE_POINTS = 48  # points of the curve of the whole run
FIRST_ROWS = 8  # rows whose loss counts as the loss at the start


class Block(msgspec.Struct):
    """Summary of `BLOCK_ROWS` consecutive training rows."""

    last_step: int
    level: float  # median loss
    noise: float  # standard deviation of the noise on the loss
    log_norm: float | None  # median of the log of the gradient norm
    norm_noise: float | None  # standard deviation of the noise on it
    rate: float | None  # learning rate of the last row


class EvaluationPoint(msgspec.Struct):
    """One evaluation, and the training loss at that time."""

    step: int
    val_loss: float
    train_level: float  # median training loss of the 8 rows before
    train_noise: float = 0.0  # standard deviation of that median


class OpenAdvice(msgspec.Struct):
    """Advice that is not closed yet."""

    advice: Advice
    # Rows since the condition was last found, less the rows for which the advice stays open.
    absent_rows: int = msgspec.field(default=0, name="quiet")


class Reference(msgspec.Struct):
    """What is normal for the run, from the blocks before the newest rows."""

    ready: bool = False  # there were two blocks
    is_provisional: bool = msgspec.field(default=False, name="begun")  # from the first rows only
    level: float = 0.0  # lowest recent median loss
    step: int = 0  # last step of its block
    noise: float = 0.0  # standard deviation of the noise on the loss
    rate: float | None = None  # learning rate at the lowest loss
    log_norm: float | None = None  # median log gradient norm
    norm_noise: float = 0.0  # standard deviation of the noise on it
    norm_ceiling: float = 0.0  # highest log gradient norm of the recent blocks
    # Noise on the loss and on the log norm, some blocks ago.
    earlier_noise: float | None = msgspec.field(default=None, name="wobble")
    earlier_norm_noise: float | None = msgspec.field(default=None, name="norm_wobble")


class AdvisorState(msgspec.Struct):
    """The state of an advisor. Lists are oldest first and bounded.

    Checkpoints hold it as JSON; `name=` keeps the keys of fields that were renamed.
    """

    rows: int = 0  # training rows so far
    step: int = 0
    first_step: int = 0
    first_losses: list[float] = msgspec.field(default_factory=list)
    first: float = 0.0  # loss at the start: median of the first losses
    steps: list[int] = msgspec.field(default_factory=list)
    losses: list[float] = msgspec.field(default_factory=list)
    norms: list[float] = msgspec.field(default_factory=list)  # log of the gradient norm
    norm_rows: int = 0  # rows with a gradient norm
    rate: float | None = None  # learning rate
    former_rate: float | None = None  # before the newest abrupt fall
    fell_at: int | None = None  # row of that fall
    raised_at: int | None = None  # row of the newest abrupt rise of the learning rate
    peak_rate: float = 0.0
    peak_row: int = 0  # row at which the learning rate last reached a new peak
    warm_steps: int = 0  # rows of the warmup
    filled: int = 0  # rows in the block that is being filled
    blocks: list[Block] = msgspec.field(default_factory=list)
    # The loss over the whole run: means of block medians, with the sum of the next point.
    curve: list[float] = msgspec.field(default_factory=list, name="coarse")
    blocks_per_point: int = msgspec.field(default=4, name="coarse_span")
    point_sum: float = msgspec.field(default=0.0, name="coarse_sum")
    point_blocks: int = msgspec.field(default=0, name="coarse_count")
    reference: Reference = msgspec.field(default_factory=Reference)
    frozen: bool = False  # the reference is not updated while the loss diverges
    # Cumulative sum of the loss above its reference (`loss_rules`).
    cumulative_sum: float = msgspec.field(default=0.0, name="risen")
    # Consecutive rows with a vanishing gradient.
    tiny_norm_rows: int = msgspec.field(default=0, name="tiny")
    evaluations: list[EvaluationPoint] = msgspec.field(default_factory=list)
    step_times: list[float] = msgspec.field(default_factory=list)  # milliseconds
    data_shares: list[float] = msgspec.field(default_factory=list)  # of a step, waiting for data
    memory_shares: list[float] = msgspec.field(default_factory=list)  # of the fullest memory
    last_time: float | None = None  # of the newest record, seconds since the epoch
    open: dict[str, OpenAdvice] = msgspec.field(default_factory=dict)  # by kind
    raised: int = 0  # advice raised so far
    muted: list[str] = msgspec.field(default_factory=list)  # kinds


def add_row(state: AdvisorState, row: RecordValues) -> None:
    """Adds a training row with a finite loss. The block that it completes is added by
    `close_block` after the rules have run, so that they compare the row with earlier blocks."""
    loss = row.loss
    if loss is None:
        return
    state.rows += 1
    if state.rows == 1:
        state.first_step = state.step
    if len(state.first_losses) < FIRST_ROWS:
        state.first_losses.append(loss)
        state.first = robust_stats.median(state.first_losses[:4])
    _push(state.steps, state.step, ROWS_KEPT)
    _push(state.losses, loss, ROWS_KEPT)
    norm = row.gradient_norm
    if norm is not None and norm >= 0:
        state.norm_rows += 1
        _push(state.norms, math.log(max(norm, 1e-12)), ROWS_KEPT)
    if row.learning_rate is not None and row.learning_rate >= 0:
        _add_rate(state, row.learning_rate)
    state.filled += 1


def _add_rate(state: AdvisorState, rate: float) -> None:
    before = state.rate
    state.rate = rate
    # A short warmup doubles the rate too, so the first rows do not count.
    if before is not None and 2 * before < rate and state.rows > 16:
        if rate > 1.2 * state.peak_rate:
            state.raised_at = state.rows
        elif not state.frozen:
            # A warm restart: the loss rises with the rate, so the reference starts again.
            state.blocks, state.reference = [], Reference()
            state.filled, state.cumulative_sum = 0, 0.0
    if before is not None and rate > before * 1.0001:
        if state.fell_at is None and state.warm_steps == state.rows - 2:
            state.warm_steps += 1
        if state.former_rate is not None and rate > 0.5 * state.former_rate:
            state.former_rate = state.fell_at = None
    elif before is not None and 0 < rate < before / 5:
        state.former_rate, state.fell_at = before, state.rows
    if rate > state.peak_rate * 1.0001:
        state.peak_rate, state.peak_row = rate, state.rows


def close_block(state: AdvisorState) -> bool:
    """Adds the block that the newest row completed, if any, and updates the reference."""
    if state.filled < BLOCK_ROWS:
        return False
    state.filled = 0
    losses = state.losses[-BLOCK_ROWS:]
    # Where fewer rows have a norm than a loss, the newest norms count.
    norms = state.norms[-BLOCK_ROWS:] if state.norm_rows >= BLOCK_ROWS else []
    block = Block(
        last_step=state.step,
        level=robust_stats.median(losses),
        noise=robust_stats.noise(losses),
        log_norm=robust_stats.median(norms) if norms else None,
        norm_noise=robust_stats.noise(norms) if norms else None,
        rate=state.rate,
    )
    _push(state.blocks, block, BLOCKS_KEPT)
    _extend_curve(state, block.level)
    if not state.frozen and len(state.blocks) >= 2:
        _update_reference(state)
    return True


def _extend_curve(state: AdvisorState, level: float) -> None:
    """Adds a block to the curve, whose points are means of block levels. A full curve is halved,
    so that it always spans the whole run."""
    state.point_sum += level
    state.point_blocks += 1
    if state.point_blocks < state.blocks_per_point:
        return
    state.curve.append(state.point_sum / state.point_blocks)
    state.point_sum, state.point_blocks = 0.0, 0
    if len(state.curve) >= MOST_CURVE_POINTS:
        curve = state.curve
        state.curve = [(a + b) / 2 for a, b in zip(curve[::2], curve[1::2], strict=True)]
        state.blocks_per_point *= 2


def _update_reference(state: AdvisorState) -> None:
    """Computes the reference: levels from the newest 16 blocks, norms from the newest 4, the
    earlier noise from the 16 before the newest 2."""
    recent = state.blocks[-16:]
    lowest = min(recent, key=lambda block: block.level)
    reference = Reference(
        ready=True,
        level=lowest.level,
        step=lowest.last_step,
        noise=max(
            robust_stats.median([block.noise for block in recent]),
            ROWS_PER_BLOCK_NOISE * robust_stats.curve_noise([block.level for block in recent]),
        ),
        rate=lowest.rate,
    )
    logs = [block.log_norm for block in recent if block.log_norm is not None]
    noises = [block.norm_noise for block in recent if block.norm_noise is not None]
    if logs:
        reference.log_norm = robust_stats.median(logs[-4:])
        reference.norm_ceiling = max(logs)
        reference.norm_noise = robust_stats.median(noises)
    earlier = state.blocks[-18:-2]
    if len(earlier) >= 4:
        reference.earlier_noise = robust_stats.median([block.noise for block in earlier])
        earlier_noises = [block.norm_noise for block in earlier if block.norm_noise is not None]
        reference.earlier_norm_noise = (
            robust_stats.median(earlier_noises) if len(earlier_noises) >= 4 else None
        )
    state.reference = reference


def scale(state: AdvisorState) -> float:
    """The unit in which a rise of the loss is measured: its noise, but at least 2 % of the level
    and 0.5 % of all that was learned."""
    reference = state.reference
    learned = max(state.first - reference.level, 0.0)
    return max(reference.noise, 0.02 * abs(reference.level), 0.005 * learned, 1e-9)


def _push(values: list, value: object, most: int) -> None:  # type: ignore[type-arg]
    values.append(value)
    if len(values) > most:
        del values[0]
