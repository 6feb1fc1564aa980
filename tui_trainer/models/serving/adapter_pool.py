"""The adapters that are loaded onto the base, and which of them are active."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer

from tui_trainer.contracts.errors import UserError
from tui_trainer.models import lora_load
from tui_trainer.models.lora_load import Base
from tui_trainer.models.lora_train import CONFIG, WEIGHTS
from tui_trainer.models.serving.decoder import ActiveUpdates, Decoder
from tui_trainer.models.serving.packed_weights import LowRank, Matrix

# A folder's path and, of each file, what changes when it is written again: inode, time, size.
_Stamp = tuple[str, tuple[tuple[int, int, int], ...]]


@dataclass(frozen=True)
class _LoadedAdapter:
    """An adapter in memory.

    name: its name in PEFT.
    stamp: its folder as it was read.
    dora: whether it is a DoRA adapter.
    """

    name: str
    stamp: _Stamp
    dora: bool


@dataclass(frozen=True)
class Mix:
    """Adapters with weights, whose weighted changes are added to the base; without any it is
    the base alone.

    Its adapters stay loaded from `AdapterPool.acquire` to `AdapterPool.release`.
    """

    parts: tuple[tuple[_LoadedAdapter, float], ...] = ()


BASE_ALONE = Mix()


class AdapterPool:
    """Loads adapters onto one model and switches between mixes of them.

    A mix of several adapters equals the weighted sum of their changes: each stays as it is and
    its scale is set. An adapter that no acquired mix needs is deleted. Not thread-safe.
    """

    def __init__(self, model: Any, base: Base, decoder: Decoder | None = None) -> None:
        """`base` describes the model before any adapter; `decoder`, if any, gets the active
        adapters too."""
        self._model = model
        self._base = base
        self._decoder = decoder
        self._peft: PeftModel | None = None
        self._users: dict[_LoadedAdapter, int] = {}  # acquired mixes that need each
        self._count = 0
        self._active: Mix | None = BASE_ALONE
        self._packed: dict[Mix, ActiveUpdates] = {}

    @property
    def loaded(self) -> int:
        """How many adapters are in memory."""
        return len(self._users)

    def acquire(self, wanted: Sequence[tuple[Path, float]]) -> Mix:
        """Loads the adapters in these folders, with these weights, where they are not loaded.

        Raises `UserError`, and then nothing has changed.
        """
        parts: list[tuple[_LoadedAdapter, float]] = []
        try:
            for folder, weight in wanted:
                if not math.isfinite(weight):
                    raise UserError(f"the weight of {folder.name} must be a number, not {weight}")
                part = self._load(folder)
                parts.append((part, weight))
                if part.dora and (len(wanted) > 1 or weight != 1.0):
                    raise UserError(
                        f"{folder.name} is a DoRA adapter, whose change is not a sum: it can only "
                        "be active alone and with weight 1"
                    )
        except UserError:
            self.release(Mix(tuple(parts)))
            raise
        return Mix(tuple(parts))

    def acquire_again(self, mix: Mix) -> Mix:
        """Acquires an acquired mix once more, to be released once more."""
        for part, _ in mix.parts:
            self._users[part] += 1
        return mix

    def release(self, mix: Mix) -> None:
        """Deletes the adapters that no other acquired mix needs."""
        for part, _ in mix.parts:
            self._users[part] -= 1
            if self._users[part] == 0:
                del self._users[part]
                self._delete(part.name)

    def activate(self, mix: Mix) -> None:
        """Applies an acquired mix from the next forward pass on."""
        if mix == self._active or self._peft is None:
            return
        tuner: Any = self._peft.base_model
        if mix.parts:
            tuner.enable_adapter_layers()
            tuner.set_adapter(list({part.name: None for part, _ in mix.parts}), inference_mode=True)
            self._scale(mix)
        else:
            tuner.disable_adapter_layers()
        self._active = mix
        if self._decoder is not None:
            self._activate_in(self._decoder, mix)

    def _activate_in(self, decoder: Decoder, mix: Mix) -> None:
        decoder.suspended = any(part.dora for part, _ in mix.parts)
        if decoder.suspended:
            return
        if mix.parts and mix not in self._packed:
            names = list({part.name: None for part, _ in mix.parts})
            matrices = decoder.weights.matrices()
            found = {m: update for m in matrices if (update := _packed(self._model, m, names))}
            self._packed[mix] = ActiveUpdates(mix, found)
        decoder.activate(self._packed.get(mix))

    def _scale(self, mix: Mix) -> None:
        weights: dict[str, float] = {}
        for part, weight in mix.parts:  # the same folder may be named twice
            weights[part.name] = weights.get(part.name, 0.0) + weight
        for module in self._model.modules():
            if isinstance(module, LoraLayer):
                for name, weight in weights.items():
                    module.set_scale(name, weight)

    def _load(self, folder: Path) -> _LoadedAdapter:
        stamp = _stamp(folder)
        part = next((p for p in self._users if p.stamp == stamp), None)
        if part is None:
            adapter = lora_load.read(folder, self._base)
            self._count += 1
            part = _LoadedAdapter(f"number{self._count}x", stamp, adapter.facts.dora)
            self._active = None
            try:
                self._peft = lora_load.add_adapter(self._model, self._peft, adapter, part.name)
            except UserError:
                self._delete(part.name)
                raise
            self._users[part] = 0
        self._users[part] += 1
        return part

    def _delete(self, name: str) -> None:
        self._active = None
        self._packed = {
            mix: updates
            for mix, updates in self._packed.items()
            if all(part.name != name for part, _ in mix.parts)
        }
        if self._peft is not None and name in self._peft.peft_config:
            self._peft.delete_adapter(name)


def _packed(model: Any, matrix: Matrix, names: Sequence[str]) -> LowRank | None:
    """What the adapters with these names in PEFT add to `matrix`, with their current scales."""
    downs, ups = [], []
    for layer, outputs in _outputs(matrix):
        module: Any = model.get_submodule(layer)
        if not hasattr(module, "lora_A"):  # no adapter changes this layer
            continue
        for name in names:
            if name not in module.lora_A:
                continue
            down: torch.Tensor = module.lora_A[name].weight.detach()
            up: torch.Tensor = module.lora_B[name].weight.detach()
            downs.append(down)
            whole = up.new_zeros(down.shape[0], sum(matrix.sizes))
            whole[:, outputs] = up.t() * module.scaling[name]
            ups.append(whole)
    if not downs:
        return None
    return LowRank(torch.cat(downs).t().contiguous(), torch.cat(ups))


def _outputs(matrix: Matrix) -> Iterator[tuple[str, slice]]:
    """Each layer of a matrix with the columns of its outputs."""
    at = 0
    for layer, size in zip(matrix.layers, matrix.sizes, strict=True):
        yield layer, slice(at, at + size)
        at += size


def _stamp(folder: Path) -> _Stamp:
    files = []
    for name in (WEIGHTS, CONFIG):
        try:
            status = (folder / name).stat()
        except OSError as error:
            raise UserError(
                f"the adapter in {folder} cannot be read: {name}: {error.strerror}"
            ) from None
        files.append((status.st_ino, status.st_mtime_ns, status.st_size))
    return str(folder.resolve()), tuple(files)
