"""Keeps an adapter from reading the input directions in which the base's own answers are strong.

The down-projection A of each LoRA layer is kept orthogonal to the strongest eigenvectors of the
second moment of the layer's inputs, measured on answers of the base. What resembles these answers
then hardly changes, whatever the adapter learns. As in Adam-NSCL (arXiv:2103.07113) and AlphaEdit
(arXiv:2410.02355), with the projection applied to A after every optimizer step, so that the result
is a plain LoRA adapter.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from tui_trainer.contracts.job import Job
from tui_trainer.contracts.runs.run import RunInfo
from tui_trainer.engine.data.example import Example
from tui_trainer.store import paths, sealed_cache
from tui_trainer.text.formats import plural
from tui_trainer.text.formats import share as share_text

# Wider layers are left as they are: their eigenvectors take minutes on a CPU.
MOST_INPUTS = 4096
MOST_CACHED = 2 << 30  # bytes of all cached directions
# An adapter that is continued was trained without this if more than this share of it would go.
_MOST_LOST = 1e-3
_SUFFIX = ".directions"
_WRAPPED = ".base_layer"  # of a layer with an adapter
Progress = Callable[[int, int], None]


class NullSpace:
    """The directions that each trained A may read, applied to its parameters in place."""

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], directions: Mapping[str, torch.Tensor]
    ) -> None:
        """`parameters` by their names in the model; `directions` as of `measure`."""
        self._layers: list[tuple[nn.Parameter, torch.Tensor]] = []
        self.others = 0
        """Number of trained layers that are left as they are."""
        for name, parameter in parameters.items():
            layer, is_a, _ = name.removeprefix("base_model.model.").partition(".lora_A.")
            if is_a and layer in directions:
                basis = directions[layer].to(parameter.device, parameter.dtype)
                self._layers.append((parameter, basis))
            elif is_a:
                self.others += 1

    @property
    def layers(self) -> int:
        """Number of trained layers that it applies to."""
        return len(self._layers)

    @torch.no_grad()
    def apply(self) -> None:
        """Project every A (rank, inputs) onto its directions."""
        for parameter, directions in self._layers:
            parameter.copy_((parameter @ directions) @ directions.t())

    @torch.no_grad()
    def lost(self) -> float:
        """Return the share of the norm of all A that `apply` would remove."""
        whole = gone = 0.0
        for parameter, directions in self._layers:
            rest = parameter - (parameter @ directions) @ directions.t()
            whole += float(parameter.square().sum())
            gone += float(rest.square().sum())
        return (gone / whole) ** 0.5 if whole else 0.0

    def fits(self) -> bool:
        """Return whether the present values were trained with it."""
        return self.lost() <= _MOST_LOST


def of_job(
    info: RunInfo,
    examples: Sequence[Example],
    model: Any,
    parameters: Mapping[str, nn.Parameter],
    on_progress: Progress,
) -> NullSpace | None:
    """Return what the adapter of a run may read, applied to its first values. None where the job
    does not ask for it, or where the adapter that it continues was trained without."""
    share = info.job.data.null_space_share
    if not examples or not share:
        return None

    def make() -> dict[str, torch.Tensor]:
        return measure(model, examples, share, on_progress)

    found = NullSpace(parameters, cached(info.base_hash, examples, share, make))
    if info.job.lora.start_from is not None and not found.fits():
        return None
    found.apply()
    return found


def notice(null_space: NullSpace | None, examples: int, job: Job) -> tuple[str, str]:
    """Return kind and message of the event about the null space of a job with so many examples."""
    if null_space is None:
        reason = "the adapter that is continued was trained without it"
        return "warning", f"data.null_space is not used: {reason}"
    if not null_space.layers:
        return "warning", "data.null_space is not used: no trained layer can be measured"
    text = (
        f"{plural(null_space.layers, 'layer')} of the adapter without the "
        f"{share_text(job.data.null_space_share)} of input directions that are strongest in "
        f"{plural(examples, 'answer')} of the base"
    )
    return "data", text + (f"; {plural(null_space.others, 'other')}" if null_space.others else "")


def cached(
    base_hash: str | None,
    examples: Sequence[Example],
    share: float,
    make: Callable[[], dict[str, torch.Tensor]],
) -> dict[str, torch.Tensor]:
    """Return the directions for a base and examples: from the user's cache, or those of `make`,
    which are stored there. They do not depend on the folder's content."""
    if base_hash is None:
        return make()
    content = msgspec.json.encode((1, base_hash, share, [e.input_ids for e in examples]))
    file = paths.cache_dir() / "null-space" / f"{hashlib.sha256(content).hexdigest()}{_SUFFIX}"
    found = _read(file)
    if found is None:
        found = make()
        with contextlib.suppress(OSError):  # the next training measures them again
            sealed_cache.write(file, [_encode(found)], MOST_CACHED)
    return found


def measure(
    model: Any, examples: Sequence[Example], share: float, on_progress: Progress
) -> dict[str, torch.Tensor]:
    """Return for each linear layer with an adapter an orthonormal basis (inputs, kept) of the
    directions that its inputs use least: all but the strongest `share` of them.

    Layers with the same input have the same tensor. Runs each example through the base alone.
    """
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), model.disable_adapter():
            moments = _moments(model.get_base_model(), examples, on_progress)
    finally:
        model.train(training)
    directions: dict[str, torch.Tensor] = {}
    for names, moment in moments:
        # Eigenvalues ascend, so that the first eigenvectors are the weakest directions.
        weakest = torch.linalg.eigh(moment).eigenvectors
        kept = len(moment) - int(share * len(moment))
        basis = weakest[:, :kept].contiguous().cpu()
        directions |= dict.fromkeys(names, basis)
    return directions


def _moments(
    base: Any, examples: Sequence[Example], on_progress: Progress
) -> list[tuple[list[str], torch.Tensor]]:
    """Return the second moments (inputs, inputs) of the inputs, in fp32, each with the names of the
    layers that get this input."""
    layers = {
        name.removesuffix(_WRAPPED): layer
        for name, layer in base.named_modules()
        if name.endswith(_WRAPPED)
        and isinstance(layer, nn.Linear)
        and layer.in_features <= MOST_INPUTS
    }
    if not layers:
        return []
    groups = {names[0]: names for names in _groups(base, layers, examples[0])}
    moments: dict[str, torch.Tensor] = {}

    def add(name: str, given: torch.Tensor) -> None:
        rows = given.flatten(0, -2).float()
        if name not in moments:
            moments[name] = rows.new_zeros(rows.shape[1], rows.shape[1])
        moments[name].addmm_(rows.t(), rows)

    with _inputs_to({name: layers[name] for name in groups}, add):
        for number, example in enumerate(examples):
            on_progress(number, len(examples))
            _run(base, example)
    return [(groups[name], moment) for name, moment in moments.items()]


def _groups(base: Any, layers: Mapping[str, nn.Module], example: Example) -> list[list[str]]:
    """Return the names of the layers, grouped by the input tensor that they share."""
    # The tensors are kept, so that no later one has the identity of an earlier one.
    seen: dict[int, tuple[torch.Tensor, list[str]]] = {}

    def note(name: str, given: torch.Tensor) -> None:
        seen.setdefault(id(given), (given, []))[1].append(name)

    with _inputs_to(layers, note):
        _run(base, example)
    return [names for _, names in seen.values()]


@contextlib.contextmanager
def _inputs_to(
    layers: Mapping[str, nn.Module], receive: Callable[[str, torch.Tensor], None]
) -> Iterator[None]:
    """Pass the input of each layer to `receive`, with the layer's name, at every forward pass."""

    def hook(name: str) -> Any:
        return lambda _layer, inputs: receive(name, inputs[0])

    hooks = [layer.register_forward_pre_hook(hook(name)) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()


def _run(base: Any, example: Example) -> None:
    ids = torch.tensor([example.input_ids], device=base.device)
    base.base_model(ids, use_cache=False)


def _read(file: Path) -> dict[str, torch.Tensor] | None:
    """Return an entry; None where it is missing or damaged."""
    data = sealed_cache.read(file)
    if data is None:
        return None
    try:
        stored: dict[str, torch.Tensor] = safetensors.torch.load(data)
    except SafetensorError:
        return None
    return {name: basis for names, basis in stored.items() for name in names.split(",")}


def _encode(directions: Mapping[str, torch.Tensor]) -> bytes:
    """Return a safetensors file in which layers that share a tensor share an entry."""
    names: dict[int, list[str]] = {}
    for name, basis in directions.items():
        names.setdefault(id(basis), []).append(name)
    data: bytes = safetensors.torch.save(
        {",".join(shared): directions[shared[0]] for shared in names.values()}
    )
    return data
