"""A process that follows the leader of its run. It has the same model and computes its part of
every step and evaluation, but makes no decisions and writes no files."""

from __future__ import annotations

import contextlib
import io
import signal
import sys
import tempfile
from pathlib import Path

import msgspec
import torch

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.runs.run import RunInfo
from tui_trainer.engine import loop, setup
from tui_trainer.engine.checkpoints import checkpoint
from tui_trainer.engine.distributed.dist_env import ProcessRank
from tui_trainer.engine.distributed.process_group import PeerLostError, ProcessGroup, seed_follower
from tui_trainer.engine.optimizer import set_learning_rate
from tui_trainer.engine.records.run_reporter import RunReporter
from tui_trainer.engine.state.command_source import CommandSource
from tui_trainer.engine.state.session import Session, TrainerState
from tui_trainer.engine.validation import evaluate
from tui_trainer.store import atomic
from tui_trainer.store.runs.run_folder import RunFolder


def main(process: ProcessRank) -> int:
    """Follow the leader until it ends; return the exit status."""
    ranks = ProcessGroup(process)
    # Signals are the leader's, which receives them too.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        with tempfile.TemporaryDirectory(prefix="tui-trainer-") as folder:
            Follower(ranks, RunFolder(Path(folder))).follow()
        ranks.end()
    except PeerLostError:
        return 1  # the leader, if it still runs, reports why
    except Exception as error:
        message = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        ranks.report_failure(message)
        print(f"training process {process.rank}: {message}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


class Follower:
    """Executes the leader's broadcasts: each names a method of this class."""

    def __init__(self, ranks: ProcessGroup, folder: RunFolder) -> None:
        self._ranks = ranks
        self._folder = folder  # a temporary one that nothing reads
        self._session: Session | None = None

    def follow(self) -> None:
        """Execute broadcasts until `end`."""
        while True:
            name, arguments = self._ranks.receive()
            if name == "end":
                return
            getattr(self, name)(**arguments)

    @property
    def session(self) -> Session:
        """The session that `prepare` built."""
        assert self._session is not None  # noqa: S101  (the leader's first broadcast)
        return self._session

    def prepare(self, info: RunInfo) -> None:
        """Load base and data as the leader does."""
        atomic.write_json(self._folder.info_file, info)
        report, control = RunReporter(self._folder), CommandSource(self._folder)
        with contextlib.redirect_stdout(io.StringIO()):
            session = setup.prepare(self._folder, info, report, control, None, self._ranks)
        session.model.train()
        self._session = session

    def start(self) -> None:
        """Join the gradients of all processes."""
        self._ranks.join(self.session.replica())

    def load(
        self,
        trainer: bytes,
        weights: dict[str, torch.Tensor],
        optimizer: dict[str, torch.Tensor],
        random: dict[str, torch.Tensor],
    ) -> None:
        """Resume from a checkpoint, with this process's own random states where it has them."""
        rank, session = self._ranks.process.rank, self.session
        state = msgspec.json.decode(trainer, type=TrainerState)
        checkpoint.restore(session, state, weights, optimizer)
        own = {
            name.removesuffix(f".{rank}"): value
            for name, value in random.items()
            if name.endswith(f".{rank}")
        }
        if own:
            checkpoint.set_random_state(session.device, own)
        else:
            seed_follower(session.job.training.seed, session.state.step, rank)

    def step(self, finished: int, rate: float, micro_batch: int | None) -> None:
        """Compute this process's part of the optimizer step after `finished` ones, with learning
        rate `rate` and at most `micro_batch` examples per pass (None: no limit)."""
        self.session.state.step, self.session.state.micro_batch = finished, micro_batch
        set_learning_rate(self.session.optimizer, rate)
        loop.step(self.session)

    def evaluate(self, micro_batch: int | None) -> None:
        """Compute this process's part of an evaluation."""
        self.session.state.micro_batch = micro_batch
        evaluate.follow(self.session)

    def random(self) -> None:
        """Send this process's random states, for a checkpoint."""
        self._ranks.random_states(checkpoint.random_state(self.session.device))
