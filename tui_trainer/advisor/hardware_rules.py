"""Rules on the machine: hangs, waiting for data, memory; and numbers that are none."""

from __future__ import annotations

from tui_trainer.advisor import robust_stats
from tui_trainer.advisor.advice_lifecycle import Condition
from tui_trainer.advisor.record_values import RecordValues
from tui_trainer.advisor.schedule_phase import healthy_rate
from tui_trainer.advisor.state import AdvisorState
from tui_trainer.contracts.advice import AdvisorSettings, Evidence
from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.text.formats import duration, milliseconds
from tui_trainer.text.formats import share as share_text

TIMES = 32  # step times and data shares kept
FEWEST = 8  # step times before a hang can be told


def hang_limit(memory: AdvisorState, settings: AdvisorSettings) -> float | None:
    """Seconds after which a step hangs; None while too few were timed."""
    if len(memory.step_times) < FEWEST:
        return None
    median = robust_stats.median(memory.step_times) / 1000
    return max(settings.hang_factor * median, settings.hang_seconds)


def stalled(memory: AdvisorState, limit: float) -> Condition:
    """The step that follows the newest one takes longer than `limit` seconds."""
    median = robust_stats.median(memory.step_times) / 1000
    evidence = Evidence(
        metric="step_time_ms",
        first_step=memory.step,
        last_step=memory.step,
        level=median * 1000,
        limit=limit * 1000,
    )
    return Condition(
        "stalled",
        "critical",
        f"No step has finished for {duration(limit)} since step {memory.step}; "
        f"the median step takes {milliseconds(1000 * median)}.",
        evidence,
        0.95,
        also_try=("check engine.log, the disk, the network and other processes",),
        stays=0,
    )


def data_bound(
    memory: AdvisorState, reading: RecordValues, settings: AdvisorSettings
) -> Condition | None:
    """Most steps spend much of their time waiting for data."""
    wait, whole = reading.data_time_ms, reading.step_time_ms
    if wait is None or whole is None or whole <= 0 or wait < 0:
        return None
    shares = memory.data_shares
    shares.append(min(wait / whole, 1.0))
    del shares[:-TIMES]
    if len(shares) < TIMES:
        return None
    share = robust_stats.median(shares)
    if share < settings.data_share * (0.75 if "data_bound" in memory.open else 1.0):
        return None
    evidence = Evidence(
        metric="data_time_ms",
        first_step=max(memory.step - TIMES, memory.first_step),
        last_step=memory.step,
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
    memory: AdvisorState, sample: HardwareSample, settings: AdvisorSettings
) -> Condition | None:
    """The fullest memory has been over its share in three samples on end."""
    pairs = [("ram", sample.ram_used, sample.ram_total)]
    pairs += [(f"gpu{gpu.index}", gpu.memory_used, gpu.memory_total) for gpu in sample.gpus]
    shares = {name: used / total for name, used, total in pairs if used is not None and total}
    if not shares:
        return None
    name, share = max(shares.items(), key=lambda item: item[1])
    memory.memory_shares.append(share)
    del memory.memory_shares[:-3]
    limit = settings.memory_share - (0.02 if "memory" in memory.open else 0.0)
    if len(memory.memory_shares) < 3 or min(memory.memory_shares) < limit:
        return None
    evidence = Evidence(
        metric=f"{name}_used",
        first_step=memory.step,
        last_step=memory.step,
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


def non_finite(memory: AdvisorState, reading: RecordValues) -> Condition | None:
    """Loss, validation loss or gradient norm is not a number."""
    odd = [name for name in ("loss", "val_loss", "gradient_norm") if name in reading.nonfinite]
    if not odd:
        return None
    evidence = Evidence(
        metric=odd[0],
        first_step=memory.step,
        last_step=memory.step,
        level=robust_stats.median(memory.losses[-8:]) if memory.losses else None,
    )
    names = " and ".join(name.replace("_", " ") for name in odd)
    return Condition(
        "non_finite",
        "critical" if odd != ["gradient_norm"] else "high",
        f"{names[0].upper()}{names[1:]} of step {memory.step} "
        f"{'are' if len(odd) > 1 else 'is'} not finite.",
        evidence,
        1.0,
        factor=0.3,
        target=healthy_rate(memory),
        also_try=(
            "roll back to the last good checkpoint and continue with the lower learning rate",
            "check the training rows of this step",
        ),
        good_step=memory.steps[-1] if memory.steps else None,
    )
