"""Records of a run folder: `run.json`, `state.json`, events and commands.

Times are seconds since the epoch (UTC), durations seconds.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import msgspec

from tui_trainer.contracts.job import Job

SCHEMA = 1

StateName = Literal[
    "idle",
    "preparing",
    "training",
    "paused",
    "evaluating",
    "saving",
    "completed",
    "failed",
    "cancelled",
    "early_stopped",
]

# States that need a live process: if it is gone, the run has crashed.
ACTIVE_STATES: frozenset[str] = frozenset(
    {"preparing", "training", "paused", "evaluating", "saving"}
)
ENDED_STATES: frozenset[str] = frozenset({"completed", "failed", "cancelled", "early_stopped"})

CommandName = Literal[
    "pause",
    "resume",
    "checkpoint",
    "stop",
    "cancel",
    "set-lr",
    "apply",
    "rollback",
    "mute",
    "skip-evaluation",
]
COMMANDS: tuple[CommandName, ...] = get_args(CommandName)


class RunBasics(msgspec.Struct, frozen=True, kw_only=True):
    """The fields that every `run.json` has. The file is written once."""

    schema: int = SCHEMA  # version of the file's format
    id: str  # the run folder's name
    name: str  # the run's name; several runs may share it
    created_at: float  # seconds since the epoch
    versions: dict[str, str]  # of Python and packages, by name
    host: str  # where the folder was made


class RunInfo(RunBasics, frozen=True, kw_only=True):
    """`run.json` of a run that the engine trains: the resolved job and its inputs."""

    job: Job  # every setting, resolved
    base_model: str  # as in the job: "builtin", a folder or a Hugging Face id
    base_path: str | None  # folder of the base; None if it is not local
    base_hash: str | None  # SHA-256 of the base's files; None if it is not local
    # Tensors of a local base that contain NaN or infinity; None if they were not checked.
    base_not_finite: list[str] | None = None
    data_hash: str  # SHA-256 over the contents of all data files
    data_files: dict[str, str]  # SHA-256 of each data file, by path
    seed: int  # random seed of the job
    resumed_from: str | None = None  # run or checkpoint that it continues; None without one


class LoopInfo(RunBasics, frozen=True, kw_only=True):
    """`run.json` of another program's training loop, written by `RunWriter`.

    Only that program can resume the run.
    """

    program: str  # that trains: "transformers", "Lightning", or a script's name
    config: dict[str, Any]  # settings that the program gave, as plain values


class BestEvaluation(msgspec.Struct, frozen=True, kw_only=True):
    """The best evaluation of a run by its metric (`contracts.best_metric`)."""

    metric: str  # such as "val_loss"
    value: float  # of the metric
    step: int  # optimizer steps finished


class RunState(msgspec.Struct, frozen=True, kw_only=True):
    """`state.json`, replaced atomically.

    `pid`, `start_ticks`, `boot_id` and `pid_namespace` identify the process, also after its pid
    is reused or the clock is set; `pid_created` is for systems without them.
    """

    state: StateName  # what the run does
    step: int = 0  # optimizer steps finished
    total_steps: int | None = None  # steps of the whole run; None if unknown
    epoch: float = 0.0  # passes over the training data so far
    total_epochs: float | None = None  # passes of the whole run; None if unknown
    pid: int | None = None  # process that trains; None without one
    pid_created: float | None = None  # its start by the wall clock, seconds since the epoch
    start_ticks: int | None = None  # its start, clock ticks since the boot
    boot_id: str | None = None  # of the boot that `start_ticks` counts from
    pid_namespace: str | None = None  # of `pid`
    host: str | None = None  # where the process runs
    updated_at: float = 0.0  # seconds since the epoch
    eta_seconds: float | None = None  # to the last step; None if unknown
    elapsed_seconds: float = 0.0  # of training in all sessions, without pauses
    tokens_per_second: float | None = None  # over the newest steps
    best_val_loss: float | None = None  # lowest validation loss, nats
    best_step: int | None = None  # step of `best_val_loss`
    best: BestEvaluation | None = None  # whose weights `checkpoints/best` has; None: none yet
    saved_step: int | None = None  # step of the weights in `adapter/`; None: unknown, or none yet
    message: str = ""  # one sentence for the user
    learned: int | None = None  # taught answers that are right so far; None: not counted
    taught: int | None = None  # taught answers; None: not counted
    commands: tuple[CommandName, ...] | None = None  # that the process accepts; None: all
    # The state that a resume found; restored if the resumed session ends before its first step.
    before: RunState | None = None

    def accepts(self, command: CommandName) -> bool:
        """Whether the process accepts this command."""
        return self.commands is None or command in self.commands


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A line of `events.jsonl`."""

    time: float  # seconds since the epoch
    step: int  # optimizer steps finished
    # state, setup, data, command, checkpoint, evaluation, learning_rate, resumed, rollback,
    # advice, warning or error
    kind: str
    message: str = ""  # one sentence for the user
    id: str | None = None  # of the command that it acknowledges
    # Values for programs, by name, such as `command`, `accepted`, `path`, `bytes` and `seconds`.
    detail: dict[str, Any] = msgspec.field(default_factory=dict)


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A line of `control.jsonl`."""

    id: str  # of this command; the event that acknowledges it has the same
    time: float  # seconds since the epoch
    command: CommandName  # what to do
    # set-lr: {"learning_rate": 1e-4}; mute: {"kind": "plateau"}; apply: {"advice": "divergence-2"},
    # or nothing for the newest advice.
    arguments: dict[str, Any] = msgspec.field(default_factory=dict)
