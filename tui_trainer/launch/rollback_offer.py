"""The way back from a run that went wrong: a good checkpoint, and a lower rate."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from tui_trainer.contracts.advice import Advice, AdvisorSettings
from tui_trainer.contracts.run import RunInfo
from tui_trainer.contracts.schedule import learning_rate_at
from tui_trainer.store.runs import checkpoints
from tui_trainer.store.runs.run_folder import RunFolder

# Of a run that ended while one of these stood, the weights are spoiled.
SPOILT = ("divergence", "non_finite", "gradient_explosion", "instability", "warmup_too_short")


@dataclass(frozen=True)
class RollbackOffer:
    """`checkpoint` is the newest whole one from before things went wrong, `peak` the schedule's
    peak with which the rate is then the suggested one, `command` does it from a shell."""

    checkpoint: str
    peak: float
    command: str

    @property
    def short(self) -> str:
        """The offer without its command."""
        return f"{self.checkpoint} is from before it; on from there with a peak of {self.peak:g}"

    @property
    def words(self) -> str:
        """The offer in a sentence."""
        return f"back to before it: {self.command}"


def checkpoint_before(folder: RunFolder, advice: Advice) -> str | None:
    """The name of the newest checkpoint from before an advice's trouble."""
    good = advice.good_step if advice.good_step is not None else advice.step - 1
    found = [path for step, path in checkpoints.list_checkpoints(folder) if step <= good]
    return found[-1].name if found else None


def rollback(folder: RunFolder, info: RunInfo, advice: Advice) -> RollbackOffer | None:
    """The offer that goes with an advice; None where it needs none or nothing good was saved."""
    if advice.kind not in SPOILT or advice.suggested_lr is None:
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
