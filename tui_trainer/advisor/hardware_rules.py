"""Rules on hangs, waiting for data, memory, and values that are not finite."""

from __future__ import annotations

from tui_trainer.advisor import robust_stats
from tui_trainer.advisor.advice_lifecycle import Condition
from tui_trainer.advisor.record_values import RecordValues
from tui_trainer.advisor.schedule_phase import rate_of_lowest_loss
from tui_trainer.advisor.state import AdvisorState
from tui_trainer.contracts.advice import AdvisorSettings, Evidence
from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.text.formats import count, duration, milliseconds
from tui_trainer.text.formats import share as share_text

TIMES_KEPT = 32  # newest step times and data shares
FEWEST_TIMES = 8  # step times needed to recognise a hang


def hang_limit(state: AdvisorState, settings: AdvisorSettings) -> float | None:
    """Seconds after which a step counts as hanging; None while too few were timed."""
    if len(state.step_times) < FEWEST_TIMES:
        return None
    median = robust_stats.median(state.step_times) / 1000
    return max(settings.hang_factor * median, settings.hang_seconds)


def stalled(state: AdvisorState, limit: float) -> Condition:
    """Hang: the step after the newest one takes longer than `limit` seconds."""
    median = robust_stats.median(state.step_times) / 1000
    evidence = Evidence(
        metric="step_time_ms",
        first_step=state.step,
        last_step=state.step,
        level=median * 1000,
        limit=limit * 1000,
    )
    return Condition(
        "stalled",
        "critical",
        f"No step has finished for {duration(limit)} since step {count(state.step)}; "
        f"the median step takes {milliseconds(1000 * median)}.",
        evidence,
        0.95,
        also_try=("check engine.log, the disk, the network and other processes",),
        keep_open_rows=0,
    )


def data_bound(
    state: AdvisorState, row: RecordValues, settings: AdvisorSettings
) -> Condition | None:
    """Data-bound: the median step spends too much of its time waiting for data."""
    wait, whole = row.data_time_ms, row.step_time_ms
    if wait is None or whole is None or whole <= 0 or wait < 0:
        return None
    shares = state.data_shares
    shares.append(min(wait / whole, 1.0))
    del shares[:-TIMES_KEPT]
    if len(shares) < TIMES_KEPT:
        return None
    share = robust_stats.median(shares)
    if share < settings.data_share * (0.75 if "data_bound" in state.open else 1.0):
        return None
    evidence = Evidence(
        metric="data_time_ms",
        first_step=max(state.step - TIMES_KEPT, state.first_step),
        last_step=state.step,
        value=share,
        limit=settings.data_share,
    )
    return Condition(
        "data_bound",
        "medium",
        f"The median step spends {share_text(share)} of its time waiting for data.",
        evidence,
        0.9,
        also_try=("prepare batches ahead or in more workers", "a faster disk"),
    )


def memory_near_limit(
    state: AdvisorState, sample: HardwareSample, settings: AdvisorSettings
) -> Condition | None:
    """Memory: the fullest memory is over the limit in three consecutive samples."""
    pairs = [("ram", sample.ram_used, sample.ram_total)]
    pairs += [(f"gpu{gpu.index}", gpu.memory_used, gpu.memory_total) for gpu in sample.gpus]
    shares = {name: used / total for name, used, total in pairs if used is not None and total}
    if not shares:
        return None
    name, share = max(shares.items(), key=lambda item: item[1])
    state.memory_shares.append(share)
    del state.memory_shares[:-3]
    limit = settings.memory_share - (0.02 if "memory" in state.open else 0.0)
    if len(state.memory_shares) < 3 or min(state.memory_shares) < limit:
        return None
    evidence = Evidence(
        metric=f"{name}_used",
        first_step=state.step,
        last_step=state.step,
        value=share,
        limit=settings.memory_share,
    )
    return Condition(
        "memory",
        "high" if share >= 0.98 else "medium",
        f"{share_text(share)} of the memory ({name}) is in use.",
        evidence,
        0.8,
        also_try=("a smaller batch with more gradient accumulation", "a smaller data.max_length"),
    )


def non_finite(state: AdvisorState, row: RecordValues) -> Condition | None:
    """Not finite: loss, validation loss or gradient norm is NaN or infinite."""
    nonfinite = [name for name in ("loss", "val_loss", "gradient_norm") if name in row.nonfinite]
    if not nonfinite:
        return None
    evidence = Evidence(
        metric=nonfinite[0],
        first_step=state.step,
        last_step=state.step,
        level=robust_stats.median(state.losses[-8:]) if state.losses else None,
    )
    names = " and ".join(name.replace("_", " ") for name in nonfinite)
    return Condition(
        "non_finite",
        "critical" if nonfinite != ["gradient_norm"] else "high",
        f"{names[0].upper()}{names[1:]} of step {count(state.step)} "
        f"{'are' if len(nonfinite) > 1 else 'is'} not finite.",
        evidence,
        1.0,
        factor=0.3,
        target=rate_of_lowest_loss(state),
        also_try=(
            "roll back to the last good checkpoint and continue with the lower learning rate",
            "check the training rows of this step",
        ),
        good_step=state.steps[-1] if state.steps else None,
    )
