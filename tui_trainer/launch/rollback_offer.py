"""The rollback of a run that went wrong, to a good checkpoint with a lower learning rate."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from tui_trainer.contracts.advice import Advice, AdvisorSettings
from tui_trainer.contracts.runs.run import RunInfo
from tui_trainer.contracts.schedule import learning_rate_at
from tui_trainer.store.runs import checkpoints
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.text import formats

# Kinds of advice after which a run's weights are unusable.
DAMAGING_KINDS = (
    "divergence",
    "non_finite",
    "gradient_explosion",
    "instability",
    "warmup_too_short",
)


@dataclass(frozen=True)
class RollbackOffer:
    """A rollback that the user can choose."""

    checkpoint: str  # newest complete one from before the run went wrong
    peak: float  # of the schedule, so that the rate at the checkpoint is the suggested one
    command: str  # shell command that does it

    @property
    def hint(self) -> str:
        """What the rollback does, without its command."""
        return f"to {self.checkpoint}, with a peak learning rate of {formats.rate(self.peak)}"

    @property
    def message(self) -> str:
        """The rollback in a sentence, with its command."""
        return f"roll back with: {self.command}"


def checkpoint_before(folder: RunFolder, advice: Advice) -> str | None:
    """Name of the newest checkpoint from before the onset of what `advice` is about."""
    good = advice.good_step if advice.good_step is not None else advice.step - 1
    found = [path for step, path in checkpoints.list_checkpoints(folder) if step <= good]
    return found[-1].name if found else None


def find_offer(folder: RunFolder, info: RunInfo, advice: Advice) -> RollbackOffer | None:
    """The rollback for an advice; None if the advice needs none or no good checkpoint exists."""
    if advice.kind not in DAMAGING_KINDS or advice.suggested_lr is None:
        return None
    name = checkpoint_before(folder, advice)
    if name is None:
        return None
    training = info.job.training
    state = folder.state()
    total = (state.total_steps if state is not None else None) or training.max_steps or 1
    planned = learning_rate_at(max(0, advice.updated_step - 1), training, total)
    share = planned / training.learning_rate
    settings = info.job.advisor or AdvisorSettings()
    wanted = advice.suggested_lr / share if share > 0 else advice.suggested_lr
    peak = settings.bounded(float(f"{min(wanted, training.learning_rate):.3g}"))
    command = (
        f"tui-trainer resume {shlex.quote(str(folder.path))} --from {name} "
        f"--set training.learning_rate={peak:g}"
    )
    return RollbackOffer(name, peak, command)
