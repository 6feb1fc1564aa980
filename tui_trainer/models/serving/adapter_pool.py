"""The adapters that are on the base, and which of them answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft import PeftModel
from peft.tuners.lora import LoraLayer

from tui_trainer.contracts.errors import UserError
from tui_trainer.models import lora_load
from tui_trainer.models.lora_load import Base
from tui_trainer.models.lora_train import CONFIG, WEIGHTS

# A folder's path and, of each file, what changes when it is written anew.
_Stamp = tuple[str, tuple[tuple[int, int, int], ...]]


@dataclass(frozen=True)
class _OnBase:
    """An adapter under its name in PEFT."""

    name: str
    stamp: _Stamp
    dora: bool


@dataclass(frozen=True)
class Mix:
    """A weighted sum of adapters' changes to the base; none is the base alone.

    It stays loaded from `Shelf.hold` to `Shelf.release`.
    """

    parts: tuple[tuple[_OnBase, float], ...] = ()


BASE_ALONE = Mix()


class AdapterPool:
    """Loads adapters onto one model and switches between mixes of them.

    Several adapters answer together exactly as the weighted sum of their changes would: each
    stays as it is and its scale is set. An adapter that no held mix needs is deleted.
    Not for several threads at once.
    """

    def __init__(self, model: Any, base: Base) -> None:
        """`base` describes the model before any adapter."""
        self._model = model
        self._base = base
        self._peft: PeftModel | None = None
        self._loaded: dict[_OnBase, int] = {}  # how many held mixes need each
        self._count = 0
        self._worn: Mix | None = BASE_ALONE

    @property
    def loaded(self) -> int:
        """How many adapters are in memory."""
        return len(self._loaded)

    def hold(self, wanted: Sequence[tuple[Path, float]]) -> Mix:
        """Loads what is not there yet. Raises `UserError`, and then nothing has changed."""
        parts: list[tuple[_OnBase, float]] = []
        try:
            for folder, weight in wanted:
                if not math.isfinite(weight):
                    raise UserError(f"the weight of {folder.name} must be a number, not {weight}")
                part = self._take(folder)
                parts.append((part, weight))
                if part.dora and (len(wanted) > 1 or weight != 1.0):
                    raise UserError(
                        f"{folder.name} is a DoRA adapter, whose change is no plain sum: it can "
                        "answer alone, not weighted or with others"
                    )
        except UserError:
            self.release(Mix(tuple(parts)))
            raise
        return Mix(tuple(parts))

    def hold_again(self, mix: Mix) -> Mix:
        """Holds a held mix once more, to be released once more."""
        for part, _ in mix.parts:
            self._loaded[part] += 1
        return mix

    def release(self, mix: Mix) -> None:
        """Deletes what no other held mix needs."""
        for part, _ in mix.parts:
            self._loaded[part] -= 1
            if self._loaded[part] == 0:
                del self._loaded[part]
                self._delete(part.name)

    def wear(self, mix: Mix) -> None:
        """Lets a held mix answer from the next forward pass on."""
        if mix == self._worn or self._peft is None:
            return
        tuner: Any = self._peft.base_model
        if mix.parts:
            tuner.enable_adapter_layers()
            tuner.set_adapter(list({part.name: None for part, _ in mix.parts}), inference_mode=True)
            self._scale(mix)
        else:
            tuner.disable_adapter_layers()
        self._worn = mix

    def _scale(self, mix: Mix) -> None:
        weights: dict[str, float] = {}
        for part, weight in mix.parts:  # the same folder may stand there twice
            weights[part.name] = weights.get(part.name, 0.0) + weight
        for module in self._model.modules():
            if isinstance(module, LoraLayer):
                for name, weight in weights.items():
                    module.set_scale(name, weight)

    def _take(self, folder: Path) -> _OnBase:
        stamp = _stamp(folder)
        part = next((p for p in self._loaded if p.stamp == stamp), None)
        if part is None:
            adapter = lora_load.read(folder, self._base)
            self._count += 1
            part = _OnBase(f"number{self._count}x", stamp, adapter.facts.dora)
            self._worn = None
            try:
                self._peft = lora_load.add_adapter(self._model, self._peft, adapter, part.name)
            except UserError:
                self._delete(part.name)
                raise
            self._loaded[part] = 0
        self._loaded[part] += 1
        return part

    def _delete(self, name: str) -> None:
        self._worn = None
        if self._peft is not None and name in self._peft.peft_config:
            self._peft.delete_adapter(name)


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
