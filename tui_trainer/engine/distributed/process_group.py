"""Several processes that train one run, on one machine or many: `Ranks` by torch.distributed.

Gradients go through DistributedDataParallel, over NCCL between GPUs and Gloo between CPUs.
Broadcast calls and small tensors always use Gloo, so that a waiting process uses no GPU time.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import TrainingSettings
from tui_trainer.engine.data import batching
from tui_trainer.engine.data.example import Example
from tui_trainer.engine.distributed import sharding
from tui_trainer.engine.distributed.dist_env import ProcessRank
from tui_trainer.engine.state.ranks import Ranks, Replica, share_examples

# A pause or a slow disk may keep the others waiting for any time: the end of a process is
# noticed by its connections, and by the launcher.
_TIMEOUT = timedelta(days=365)
_FAULT = "tui-trainer-fault"
_STOP = "tui-trainer-stop-evaluation"


class PeerLostError(UserError):
    """Another process of the run has ended."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_status=1)


class PeerMemoryError(MemoryError):
    """Another process of the run is out of memory."""


class ProcessGroup(Ranks):
    """One of several processes; all call the same methods in the same order."""

    def __init__(self, process: ProcessRank) -> None:
        super().__init__(process)
        self._gradients: DistributedDataParallel | None = None
        self._sharded = False
        self._largest = 1  # examples of a pass of this process
        # How far this step is: "", "memory" (a process ran out of it) or "sums" (all have results).
        self._agreed = ""
        self._divisions = 0  # of passes among the processes so far, equal in all of them
        _check_devices(process)
        if torch.cuda.is_available():
            torch.cuda.set_device(process.local_rank)
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        try:
            dist.init_process_group(backend, timeout=_TIMEOUT)
        except RuntimeError as error:
            reason = str(error).strip().split("\n")[0]
            raise UserError(f"the training processes cannot connect: {reason}", 1) from error

    # -- broadcast from the leader -----------------------------------------------------------

    def broadcast(self, name: str, **arguments: Any) -> None:
        if self.process.rank == 0:
            with self._peers():
                dist.broadcast_object_list([(name, arguments)], src=0, device=torch.device("cpu"))

    def receive(self) -> tuple[str, dict[str, Any]]:
        """Receive, in a follower, the name and arguments of the leader's next broadcast."""
        received: list[Any] = [None]
        with self._peers():
            dist.broadcast_object_list(received, src=0, device=torch.device("cpu"))
        name, arguments = received[0]
        return name, arguments

    def end(self) -> None:
        with contextlib.suppress(PeerLostError):
            self.broadcast("end")
        dist.destroy_process_group()

    # -- start -------------------------------------------------------------------------------

    def loading_device(self, device: torch.device, settings: TrainingSettings) -> torch.device:
        return torch.device("cpu") if settings.sharding == "fsdp" else device

    def shard(self, base: Any, device: torch.device, settings: TrainingSettings) -> None:
        if settings.sharding == "fsdp":
            self._sharded = True
            with self._peers():
                sharding.shard(base, device, self.process.size)

    def start(self, replica: Replica) -> None:
        if self.process.rank == 0:
            self.broadcast("start")
            self.join(replica)

    def join(self, replica: Replica) -> None:
        """Compare the replicas, and synchronise gradients from now on. Raises `UserError` where
        the replicas differ."""
        found = self._gather(fingerprint(replica))
        differing = [rank for rank, other in enumerate(found) if other != found[0]]
        if differing:
            rank = differing[0]
            what = "data" if found[rank][0] != found[0][0] else "base model or packages"
            raise UserError(
                f"training process {rank} has other {what} than process 0: install the same files "
                "and package versions on every machine"
            )
        trained = _Trained(replica.parameters)
        with self._peers():  # copies the leader's values to all
            self._gradients = DistributedDataParallel(trained)
        if self.process.rank:
            seed_follower(replica.seed, replica.step, self.process.rank)

    def load(
        self,
        trainer: bytes,
        weights: dict[str, torch.Tensor],
        optimizer: dict[str, torch.Tensor],
        random: dict[str, torch.Tensor],
    ) -> None:
        self.broadcast("load", trainer=trainer, weights=weights, optimizer=optimizer, random=random)

    # -- a step ------------------------------------------------------------------------------

    def own_passes(self, passes: list[Sequence[Example]]) -> list[Sequence[Example]]:
        self._agreed = ""
        self._divisions += 1
        shares = share_examples(
            [example for group in passes for example in group], self.process.size
        )
        if self._sharded:
            return sharding.own_passes(passes, shares, self.process.rank)
        own = batching.groups_of(shares[self.process.rank], max(len(group) for group in passes))
        self._largest = max((len(group) for group in own), default=1)
        return own

    def all_reduce(self, sums: torch.Tensor) -> torch.Tensor:
        """Sum loss, accuracy and gradients after the last pass rather than while it runs: processes
        may have different numbers of passes, or none, and the gradients of an adapter are small."""
        total = self.sum(sums.detach().double())
        assert self._gradients is not None  # noqa: S101  (set by `join`)
        with self._peers():
            self._gradients().backward()
        for parameter in self._gradients.parameters():
            if parameter.grad is not None:
                parameter.grad *= self.process.size  # the sum of the parts, not their mean
        return total.to(sums)

    def agree_on_pass_size(self, largest: int) -> int:
        if self._agreed == "sums":
            raise UserError(
                "out of memory in the optimizer's update: use a lower lora.rank, or another "
                "training.optimizer",
                exit_status=1,
            )
        if self._sharded:
            raise UserError(
                "out of memory: a step of a sharded base cannot be repeated in smaller passes; use "
                "a smaller training.batch_size or data.max_length",
                exit_status=1,
            )
        if not self._agreed:  # the others wait for this process's report
            self._count(short=1)
        most = torch.tensor([min(largest, self._largest)])
        with self._peers():
            dist.all_reduce(most, op=dist.ReduceOp.MAX)
        return int(most)

    def stops_early(self, wanted: bool, *, look: bool) -> bool:
        """The processes have different numbers of passes, so they cannot wait for each other after
        one: the leader leaves a note in the store. Those of a sharded base have the same number and
        must stop after the same one."""
        with self._peers():
            if self._sharded:
                flag = torch.tensor([int(wanted)])
                dist.all_reduce(flag, op=dist.ReduceOp.MAX)
                return bool(flag)
            note = f"{_STOP}-{self._divisions}"
            if self.process.rank:
                return look and bool(_store().check([note]))
            if wanted:
                _store().set(note, "")
            return wanted

    def agree_on_stop(self, stopped: bool) -> bool:
        return self._count(stopped=int(stopped))[1] > 0

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Raises `MemoryError` where a process ran out of memory: it has nothing to add."""
        self._count()
        self._agreed = "sums"
        total = values.to("cpu", copy=True)
        with self._peers():
            dist.all_reduce(total)
        return total.to(values.device)

    def _count(self, short: int = 0, stopped: int = 0) -> tuple[int, int]:
        """Count the processes that ran out of memory, and those that stopped an evaluation early;
        each is 1 where this is one, else 0. Both are counted together, as a process that runs out
        of memory does not know what the others do. Raises `MemoryError` where only others ran out
        of it."""
        counts = torch.tensor([short, stopped])
        with self._peers():
            dist.all_reduce(counts)
        if counts[0] and not short:
            self._agreed = "memory"
            raise PeerMemoryError
        return int(counts[0]), int(counts[1])

    # -- random states -----------------------------------------------------------------------

    def random_states(self, own: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        self.broadcast("random")
        found = self._gather(own)
        named = {
            f"{name}.{rank}": state
            for rank, states in enumerate(found[1:], 1)
            for name, state in states.items()
        }
        return {**own, **named}

    # -- failures of other processes ---------------------------------------------------------

    def report_failure(self, message: str) -> None:
        """Store why this process ends, for the leader to report. Never raises."""
        with contextlib.suppress(Exception):
            _store().set(_FAULT, f"process {self.process.rank}: {message}")

    @contextlib.contextmanager
    def _peers(self) -> Iterator[None]:
        """Turn torch.distributed's errors about a lost process into a `PeerLostError`."""
        try:
            yield
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise PeerLostError(self._loss_reason()) from error

    def _loss_reason(self) -> str:
        """Why another process ended: what it stored, else a general sentence."""
        with contextlib.suppress(Exception):
            if _store().check([_FAULT]):
                return str(_store().get(_FAULT).decode("utf-8", "replace"))
        who = "the other process" if self.process.size == 2 else "another process"
        return (
            f"{who} of this run ended without an error message (killed, or out of memory?); "
            "resume the run to continue from the last checkpoint"
        )

    def _gather(self, own: Any) -> list[Any]:
        """Collect the value `own` of every process, by rank."""
        found: list[Any] = [None] * self.process.size
        with self._peers():
            dist.all_gather_object(found, own)
        return found


class _Trained(nn.Module):
    """The trained parameters as a module whose forward pass costs nothing and returns zero: its
    backward pass adds zero to every gradient and makes DistributedDataParallel sum them."""

    def __init__(self, parameters: dict[str, nn.Parameter]) -> None:
        super().__init__()
        self.values = nn.ParameterList(parameters.values())

    def forward(self) -> torch.Tensor:
        return torch.stack([value.flatten()[:0].sum() for value in self.values]).sum()


def seed_follower(seed: int, step: int, rank: int) -> None:
    """Seed a follower's random numbers (dropout) apart from the leader's: the same for the same
    job seed, number of finished steps and rank."""
    digest = hashlib.sha256(f"{seed} {step} {rank}".encode()).digest()
    torch.manual_seed(int.from_bytes(digest[:7], "big"))


def fingerprint(replica: Replica) -> tuple[str, str]:
    """SHA-256 (hexadecimal) of the data, and of names, shapes and the first 16 values of each
    frozen tensor: what must be the same in every process."""
    digest = hashlib.sha256()
    for name, value in replica.model.named_parameters():
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        frozen = not value.requires_grad and not sharding.is_shared(value)
        if frozen and value.is_floating_point():
            digest.update(value.detach().flatten()[:16].float().cpu().numpy().tobytes())
    return replica.data_fingerprint, digest.hexdigest()


def _check_devices(process: ProcessRank) -> None:
    """Raise `UserError` where the processes of this machine cannot each have a device."""
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        if process.local_size > count:
            raise UserError(
                f"{process.local_size} training processes on a machine with {count} GPUs: set "
                "training.processes = 0 for one per GPU; resume a started run with "
                f"torchrun --nproc-per-node {count} -m tui_trainer.engine RUN_FOLDER"
            )
    elif torch.backends.mps.is_available():
        raise UserError(
            "several training processes cannot share Apple's GPU: set training.processes = 1"
        )


def _store() -> Any:
    return dist.distributed_c10d._get_default_store()
