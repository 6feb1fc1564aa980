"""A process that follows the leader of its run: it holds the same model, does its part of every
step and evaluation, and decides and writes nothing."""

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
from tui_trainer.contracts.run import RunInfo
from tui_trainer.engine import evaluate, loop, setup
from tui_trainer.engine.checkpoints import checkpoint
from tui_trainer.engine.distributed.process_group import PeerLostError, ProcessGroup, seed_apart
from tui_trainer.engine.optimizer import set_learning_rate
from tui_trainer.engine.records.run_reporter import RunReporter
from tui_trainer.engine.state.command_source import CommandSource
from tui_trainer.engine.state.ranks import ProcessRank
from tui_trainer.engine.state.session import Session, TrainerState
from tui_trainer.store import atomic
from tui_trainer.store.runs.run_folder import RunFolder


def main(at: ProcessRank) -> int:
    """Follows to the end; gives the exit status."""
    ranks = ProcessGroup(at)
    # From now on the leader, who is told of signals too, says what is to be done.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        with tempfile.TemporaryDirectory(prefix="tui-trainer-") as place:
            Follower(ranks, RunFolder(Path(place))).follow()
        ranks.end()
    except PeerLostError:
        return 1  # the leader, if it lives, says what there is to say
    except Exception as error:
        words = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        ranks.confess(words)
        print(f"process {at.rank}: {words}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


class Follower:
    """Obeys the leader's orders, each a method of its name, between which it waits."""

    def __init__(self, ranks: ProcessGroup, folder: RunFolder) -> None:
        self._ranks = ranks
        self._folder = folder  # nobody looks into it
        self._session: Session | None = None

    def follow(self) -> None:
        """Does what it is told until it may go."""
        while True:
            name, what = self._ranks.hear()
            if name == "end":
                return
            getattr(self, name)(**what)

    @property
    def session(self) -> Session:
        """What `prepare` has made."""
        assert self._session is not None  # noqa: S101  (the leader's first order)
        return self._session

    def prepare(self, info: RunInfo) -> None:
        """Loads what the leader loads."""
        atomic.write_json(self._folder.info_file, info)
        report, control = RunReporter(self._folder), CommandSource(self._folder)
        with contextlib.redirect_stdout(io.StringIO()):
            session = setup.prepare(self._folder, info, report, control, None, self._ranks)
        session.model.train()
        self._session = session

    def begin(self) -> None:
        """Meets the others."""
        self._ranks.meet(self.session)

    def load(
        self,
        trainer: bytes,
        weights: dict[str, torch.Tensor],
        optimizer: dict[str, torch.Tensor],
        random: dict[str, torch.Tensor],
    ) -> None:
        """Goes on from a checkpoint, with this process's own random states where it has them."""
        rank, session = self._ranks.place.rank, self.session
        state = msgspec.json.decode(trainer, type=TrainerState)
        checkpoint.put(session, state, weights, optimizer)
        own = {
            name.removesuffix(f".{rank}"): value
            for name, value in random.items()
            if name.endswith(f".{rank}")
        }
        if own:
            checkpoint.set_random_state(session.device, own)
        else:
            seed_apart(session, rank)

    def step(self, at: int, rate: float, micro_batch: int | None) -> None:
        """Its part of an optimizer step."""
        self.session.state.step, self.session.state.micro_batch = at, micro_batch
        set_learning_rate(self.session.optimizer, rate)
        loop.step(self.session)

    def evaluate(self, micro_batch: int | None) -> None:
        """Its part of an evaluation."""
        self.session.state.micro_batch = micro_batch
        evaluate.follow(self.session)

    def random(self) -> None:
        """Its random states, for a checkpoint."""
        self._ranks.random_states(checkpoint.random_state(self.session.device))
