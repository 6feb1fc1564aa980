"""Names of the files in a run folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tui_trainer.store.runs import evaluation_files


@dataclass(frozen=True)
class RunPaths:
    """Paths in a run folder. The reference of files is made from the docstrings."""

    path: Path

    @property
    def info_file(self) -> Path:
        """What was asked for: job, base, data, versions, host. Written once."""
        return self.path / "run.json"

    @property
    def state_file(self) -> Path:
        """The present state, replaced atomically."""
        return self.path / "state.json"

    @property
    def metrics_file(self) -> Path:
        """A line per optimizer step and per evaluation, appended."""
        return self.path / "metrics.jsonl"

    @property
    def events_file(self) -> Path:
        """State changes, acknowledged commands, checkpoints, advice, problems; appended."""
        return self.path / "events.jsonl"

    @property
    def control_file(self) -> Path:
        """Commands for the run, appended by whoever steers it."""
        return self.path / "control.jsonl"

    @property
    def hardware_file(self) -> Path:
        """Samples of GPUs, processors, memory and disk, appended, thinned out."""
        return self.path / "hardware.jsonl"

    @property
    def notices_file(self) -> Path:
        """Notifications that were sent through webhook and command, appended."""
        return self.path / "notices.jsonl"

    @property
    def data_file(self) -> Path:
        """Counts and warnings of the data, made before training."""
        return self.path / "data.json"

    @property
    def augmented_file(self) -> Path:
        """Every row that a model rewrote (`data.augment`), beside the original."""
        return self.path / "augmented.json"

    @property
    def evaluation_file(self) -> Path:
        """Scores by class of a classifier: the newest and the best evaluation."""
        return self.path / "evaluation.json"

    @property
    def evaluations_dir(self) -> Path:
        """`NAME.json`: results of `tui-trainer evaluate`, and of `data.test`."""
        return self.path / evaluation_files.FOLDER

    @property
    def gradients_file(self) -> Path:
        """The gradients of a step, as last measured."""
        return self.path / "gradients.json"

    @property
    def samples_file(self) -> Path:
        """Answers to `samples.prompts` at each evaluation, appended."""
        return self.path / "samples.jsonl"

    @property
    def log_file(self) -> Path:
        """What the training process printed."""
        return self.path / "engine.log"

    @property
    def lock_file(self) -> Path:
        """Held by the process that trains, so that a run is trained once at a time."""
        return self.path / "engine.lock"

    @property
    def checkpoints_dir(self) -> Path:
        """Checkpoints, each in a folder that is complete once it has a manifest."""
        return self.path / "checkpoints"

    @property
    def adapter_dir(self) -> Path:
        """The result, in PEFT's own format."""
        return self.path / "adapter"
