"""A run folder's records: facts, state, events and commands.

Times are seconds since the epoch (UTC), durations seconds.
"""

from __future__ import annotations

from typing import Any, Literal

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

# States in which a live process is owed: one that is gone has crashed.
ACTIVE_STATES: frozenset[str] = frozenset(
    {"preparing", "training", "paused", "evaluating", "saving"}
)
ENDED_STATES: frozenset[str] = frozenset({"completed", "failed", "cancelled", "early_stopped"})

CommandName = Literal[
    "pause", "resume", "checkpoint", "stop", "cancel", "set-lr", "apply", "rollback", "mute"
]
COMMANDS: tuple[CommandName, ...] = (
    "pause",
    "resume",
    "checkpoint",
    "stop",
    "cancel",
    "set-lr",
    "apply",
    "rollback",
    "mute",
)


class RunBasics(msgspec.Struct, frozen=True, kw_only=True):
    """What every `run.json` of ours says, whoever trains. It is written once."""

    schema: int = SCHEMA  # version of the file's format
    id: str  # the run folder's name
    name: str  # the run's name; several runs may share it
    created_at: float  # seconds since the epoch
    versions: dict[str, str]  # of Python and packages, by name
    host: str  # where the folder was made


class RunInfo(RunBasics, frozen=True, kw_only=True):
    """`run.json` of a run that our engine trains: the job as resolved, and its inputs.

    `base_not_finite` names the tensors in a local base's files that hold NaN or infinity; None
    where they were not looked at.
    """

    job: Job  # every setting, resolved
    base_model: str  # as the job names it: "builtin" or a folder
    base_path: str | None  # folder of the base; None where it is not local
    base_hash: str | None  # SHA-256 of the base's files; None where it is not local
    base_not_finite: list[str] | None = None  # tensors that hold NaN or infinity
    data_hash: str  # SHA-256 over the contents of all data files
    data_files: dict[str, str]  # SHA-256 of each data file, by path
    seed: int  # of the job's random numbers
    resumed_from: str | None = None  # run or checkpoint it continues; None for none


class LoopInfo(RunBasics, frozen=True, kw_only=True):
    """`run.json` of somebody else's training loop, written by `RunWriter`.

    `program` is what trains ("transformers", "Lightning", a script's name); `config` whatever
    it told of itself, as plain values. Only that program can carry the run on.
    """

    program: str  # what trains: "transformers", "Lightning", a script
    config: dict[str, Any]  # its settings as plain values


class RunState(msgspec.Struct, frozen=True, kw_only=True):
    """`state.json`, replaced atomically.

    `start_ticks` (clock ticks from the boot to the process's start), `boot_id` and
    `pid_namespace` tell the process from a later one with its pid, however the clock is set;
    `pid_created` is its start by the wall clock, for systems without them.
    `elapsed_seconds` counts training without pauses, over all sessions.
    `commands` are those that the process obeys, none where it does not listen; None means all.
    `before` is the state in which a resume found the run, until that session trains: it is put
    back where the resume is refused.
    """

    state: StateName  # what the run does
    step: int = 0  # optimizer steps finished
    total_steps: int | None = None  # steps of the whole run; None where unknown
    epoch: float = 0.0  # passes over the training data so far
    total_epochs: float | None = None  # passes of the whole run; None where unknown
    pid: int | None = None  # process that trains; None without one
    pid_created: float | None = None  # its start, seconds since the epoch
    start_ticks: int | None = None  # its start, clock ticks since the boot
    boot_id: str | None = None  # of the boot that `start_ticks` counts from
    pid_namespace: str | None = None  # in which `pid` counts
    host: str | None = None  # where the process runs
    updated_at: float = 0.0  # seconds since the epoch
    eta_seconds: float | None = None  # to the last step; None where unknown
    elapsed_seconds: float = 0.0  # of training, all sessions, without pauses
    tokens_per_second: float | None = None  # over the newest steps
    best_val_loss: float | None = None  # least validation loss, nats
    best_step: int | None = None  # step of `best_val_loss`
    message: str = ""  # one sentence for the user
    learned: int | None = None  # taught answers that are right so far; None: not counted
    taught: int | None = None  # taught answers; None: not counted
    commands: tuple[CommandName, ...] | None = None  # that the process executes; None: all
    before: RunState | None = None  # as a resume found it, until it trains

    def obeys(self, command: CommandName) -> bool:
        """Whether the process takes this command."""
        return self.commands is None or command in self.commands


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A line of `events.jsonl`.

    `kind` is one of: state, setup, data, command, checkpoint, evaluation, learning_rate, resumed,
    advice, warning, error. A command's event carries the command's `id`; `detail` holds what else a
    program may want to know (`command`, `accepted`, `path`, `bytes`, `seconds` ...).
    """

    time: float  # seconds since the epoch
    step: int  # optimizer steps finished
    kind: str  # see above
    message: str = ""  # one sentence for the user
    id: str | None = None  # of the command that it answers
    detail: dict[str, Any] = msgspec.field(default_factory=dict)  # values for programs, by name


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A line of `control.jsonl`; `arguments` of set-lr: `{"learning_rate": 1e-4}`, of apply:
    none (the newest advice) or `{"advice": "divergence-2"}`, of mute: `{"kind": "plateau"}`."""

    id: str  # of this command; its answer carries it
    time: float  # seconds since the epoch
    command: CommandName  # what to do
    arguments: dict[str, Any] = msgspec.field(default_factory=dict)  # see above
