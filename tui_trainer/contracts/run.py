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

    schema: int = SCHEMA
    id: str
    name: str
    created_at: float
    versions: dict[str, str]
    host: str


class RunInfo(RunBasics, frozen=True, kw_only=True):
    """`run.json` of a run that our engine trains: the job as resolved, and its inputs.

    `base_not_finite` names the tensors in a local base's files that hold NaN or infinity; None
    where they were not looked at.
    """

    job: Job
    base_model: str
    base_path: str | None
    base_hash: str | None
    base_not_finite: list[str] | None = None
    data_hash: str
    data_files: dict[str, str]
    seed: int
    resumed_from: str | None = None


class LoopInfo(RunBasics, frozen=True, kw_only=True):
    """`run.json` of somebody else's training loop, written by `RunWriter`.

    `program` is what trains ("transformers", "Lightning", a script's name); `config` whatever
    it told of itself, as plain values. Only that program can carry the run on.
    """

    program: str
    config: dict[str, Any]


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

    state: StateName
    step: int = 0
    total_steps: int | None = None
    epoch: float = 0.0
    total_epochs: float | None = None
    pid: int | None = None
    pid_created: float | None = None
    start_ticks: int | None = None
    boot_id: str | None = None
    pid_namespace: str | None = None
    host: str | None = None
    updated_at: float = 0.0
    eta_seconds: float | None = None
    elapsed_seconds: float = 0.0
    tokens_per_second: float | None = None
    best_val_loss: float | None = None
    best_step: int | None = None
    message: str = ""
    commands: tuple[CommandName, ...] | None = None
    before: RunState | None = None

    def obeys(self, command: CommandName) -> bool:
        """Whether the process takes this command."""
        return self.commands is None or command in self.commands


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A line of `events.jsonl`.

    `kind` is one of: state, setup, data, command, checkpoint, evaluation, learning_rate, resumed,
    advice, warning, error. A command's event carries the command's `id`; `detail` holds what else a
    program may want to know (`command`, `accepted`, `path`, `bytes`, `seconds` ...).
    """

    time: float
    step: int
    kind: str
    message: str = ""
    id: str | None = None
    detail: dict[str, Any] = msgspec.field(default_factory=dict)


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A line of `control.jsonl`; `arguments` of set-lr: `{"learning_rate": 1e-4}`, of apply:
    none (the newest advice) or `{"advice": "divergence-2"}`, of mute: `{"kind": "plateau"}`."""

    id: str
    time: float
    command: CommandName
    arguments: dict[str, Any] = msgspec.field(default_factory=dict)
