"""Several processes that train one run, on one machine or many: `Ranks` by torch.distributed.

Gradients go through DistributedDataParallel, over NCCL between GPUs and Gloo between CPUs; orders
and small numbers always over Gloo, so that a process that waits costs nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import TrainingSettings
from tui_trainer.engine.data import batching
from tui_trainer.engine.data.encoding import Example
from tui_trainer.engine.distributed import sharding
from tui_trainer.engine.state.ranks import ProcessRank, Ranks, deal
from tui_trainer.engine.state.session import Session

# A pause or a slow disk may keep the others waiting for as long as it takes: a process that dies
# is noticed by its connections, and by whoever launched it.
_PATIENCE = timedelta(days=365)
_FAULT = "tui-trainer-fault"


class PeerLostError(UserError):
    """Another process of the run has ended."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_status=1)


class PeerMemoryError(MemoryError):
    """Another process of the run is out of memory."""


class ProcessGroup(Ranks):
    """One of several processes; all call the same methods in the same order."""

    def __init__(self, at: ProcessRank) -> None:
        super().__init__(at)
        self._gradients: DistributedDataParallel | None = None
        self._sharded = False
        self._largest = 1  # examples of a pass of this process
        self._told_of = ""  # how far this step's agreement has come: "", "memory" or "sums"
        _check_devices(at)
        if torch.cuda.is_available():
            torch.cuda.set_device(at.local_rank)
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        try:
            dist.init_process_group(backend, timeout=_PATIENCE)
        except RuntimeError as error:
            words = str(error).strip().split("\n")[0]
            raise UserError(f"the training processes cannot meet: {words}", 1) from error

    # -- the leader's orders -----------------------------------------------------------------

    def order(self, name: str, **what: Any) -> None:
        if self.place.rank == 0:
            with self._peers():
                dist.broadcast_object_list([(name, what)], src=0, device=torch.device("cpu"))

    def hear(self) -> tuple[str, dict[str, Any]]:
        """The leader's next order, for a follower."""
        box: list[Any] = [None]
        with self._peers():
            dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        name, what = box[0]
        return name, what

    def end(self) -> None:
        with contextlib.suppress(PeerLostError):
            self.order("end")
        dist.destroy_process_group()

    # -- beginning ---------------------------------------------------------------------------

    def loads_on(self, device: torch.device, settings: TrainingSettings) -> torch.device:
        return torch.device("cpu") if settings.sharding == "fsdp" else device

    def shard(self, base: Any, device: torch.device, settings: TrainingSettings) -> None:
        if settings.sharding == "fsdp":
            self._sharded = True
            with self._peers():
                sharding.shard(base, device, self.place.size)

    def begin(self, session: Session) -> None:
        if self.place.rank == 0:
            self.order("begin")
            self.meet(session)

    def meet(self, session: Session) -> None:
        """Compares what the processes hold, and joins their gradients from now on. Raises
        `UserError` where they differ."""
        found = self._gather(fingerprint(session))
        odd = [rank for rank, other in enumerate(found) if other != found[0]]
        if odd:
            what = "data" if found[odd[0]][0] != found[0][0] else "base model or packages"
            raise UserError(
                f"process {odd[0]} has other {what} than process 0: every machine needs the same "
                "files and versions"
            )
        trained = _Trained(session.parameters)
        with self._peers():  # gives everybody the leader's values
            self._gradients = DistributedDataParallel(trained)
        if self.place.rank:
            seed_apart(session, self.place.rank)

    def load(
        self,
        trainer: bytes,
        weights: dict[str, torch.Tensor],
        optimizer: dict[str, torch.Tensor],
        random: dict[str, torch.Tensor],
    ) -> None:
        self.order("load", trainer=trainer, weights=weights, optimizer=optimizer, random=random)

    # -- a step ------------------------------------------------------------------------------

    def own(self, passes: list[list[Example]]) -> list[list[Example]]:
        self._told_of = ""
        shares = deal([example for group in passes for example in group], self.place.size)
        if self._sharded:
            return sharding.own_passes(passes, shares, self.place.rank)
        own = batching.split(shares[self.place.rank], max(len(group) for group in passes))
        self._largest = max((len(group) for group in own), default=1)
        return own

    def together(self, loss: torch.Tensor) -> torch.Tensor:
        """Gradients are added up after the last pass rather than while it runs: processes may have
        different numbers of passes, or none, and those of an adapter are small."""
        total = self.add(loss.detach().double())
        assert self._gradients is not None  # noqa: S101  (set by begin)
        with self._peers():
            self._gradients().backward()
        for parameter in self._gradients.parameters():
            if parameter.grad is not None:
                parameter.grad *= self.place.size  # the sum of the parts, not their mean
        return total.to(loss)

    def lacks_memory(self, largest: int) -> int:
        if self._told_of == "sums":
            raise UserError(
                "out of memory in the optimizer's update: use a lower lora.rank, or another "
                "training.optimizer",
                exit_status=1,
            )
        if self._sharded:
            raise UserError(
                "out of memory: where the base is sharded a step cannot be done again in smaller "
                "passes; use a smaller training.batch_size or data.max_length",
                exit_status=1,
            )
        if not self._told_of:  # the others wait for this process's word
            self._short(1)
        most = torch.tensor([min(largest, self._largest)])
        with self._peers():
            dist.all_reduce(most, op=dist.ReduceOp.MAX)
        return int(most)

    def add(self, numbers: torch.Tensor) -> torch.Tensor:
        """Only once all have said that they got through: one that did not has nothing to add."""
        if self._short(0):
            self._told_of = "memory"
            raise PeerMemoryError
        self._told_of = "sums"
        total = numbers.to("cpu", copy=True)
        with self._peers():
            dist.all_reduce(total)
        return total.to(numbers.device)

    def _short(self, own: int) -> int:
        """How many processes are short of memory, of which this is one or not."""
        count = torch.tensor([own])
        with self._peers():
            dist.all_reduce(count)
        return int(count)

    # -- random states -----------------------------------------------------------------------

    def random_states(self, own: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        self.order("random")
        found = self._gather(own)
        named = {
            f"{name}.{rank}": state
            for rank, states in enumerate(found[1:], 1)
            for name, state in states.items()
        }
        return {**own, **named}

    # -- others that end ---------------------------------------------------------------------

    def confess(self, message: str) -> None:
        """Leaves word of why this process ends, for the leader to say. Never raises."""
        with contextlib.suppress(Exception):
            _store().set(_FAULT, f"process {self.place.rank}: {message}")

    @contextlib.contextmanager
    def _peers(self) -> Iterator[None]:
        """Turns torch.distributed's ways of saying that somebody is gone into a sentence."""
        try:
            yield
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise PeerLostError(self._words()) from error

    def _words(self) -> str:
        with contextlib.suppress(Exception):
            if _store().check([_FAULT]):
                return str(_store().get(_FAULT).decode("utf-8", "replace"))
        who = "the other process" if self.place.size == 2 else "another process"
        return (
            f"{who} of this run has ended without a word (killed, or out of memory?): resume "
            "carries on from the last checkpoint"
        )

    def _gather(self, own: Any) -> list[Any]:
        """What each process has, by rank."""
        found: list[Any] = [None] * self.place.size
        with self._peers():
            dist.all_gather_object(found, own)
        return found


class _Trained(nn.Module):
    """What is trained, as a module whose forward pass costs nothing and gives zero: its backward
    pass adds zero to every gradient, and lets DistributedDataParallel add them up."""

    def __init__(self, parameters: dict[str, nn.Parameter]) -> None:
        super().__init__()
        self.values = nn.ParameterList(parameters.values())

    def forward(self) -> torch.Tensor:
        return torch.stack([value.flatten()[:0].sum() for value in self.values]).sum()


def seed_apart(session: Session, rank: int) -> None:
    """Another dropout than the leader's, the same whenever a run goes on from the same step."""
    words = f"{session.job.training.seed} {session.state.step} {rank}"
    torch.manual_seed(int.from_bytes(hashlib.sha256(words.encode()).digest()[:7], "big"))


def fingerprint(session: Session) -> tuple[str, str]:
    """What must be the same in every process: the data, and the model as far as a look at some
    numbers of each tensor tells."""
    digest = hashlib.sha256()
    for name, value in session.model.named_parameters():
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        frozen = not value.requires_grad and not sharding.is_shared(value)
        if frozen and value.is_floating_point():
            digest.update(value.detach().flatten()[:16].float().cpu().numpy().tobytes())
    return session.dataset.report.fingerprint, digest.hexdigest()


def _check_devices(at: ProcessRank) -> None:
    """Raises `UserError` where the processes of this machine cannot each have a device."""
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        if at.local_size > count:
            raise UserError(
                f"{at.local_size} training processes on a machine with {count} GPUs: set "
                "training.processes = 0 for one a GPU; a run that was begun is carried on by "
                f"torchrun --nproc-per-node {count} -m tui_trainer.engine RUN_FOLDER"
            )
    elif torch.backends.mps.is_available():
        raise UserError(
            "several training processes need NVIDIA or AMD GPUs, or none at all: Apple's GPU "
            "takes one; set training.processes = 1"
        )


def _store() -> Any:
    return dist.distributed_c10d._get_default_store()
