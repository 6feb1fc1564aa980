"""Which examples an optimizer step takes, and their tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch

from tui_trainer.contracts.job import TrainingSettings
from tui_trainer.engine.data.dataset import epoch_order, replay_choice
from tui_trainer.engine.data.example import Example
from tui_trainer.models.kernels.packed_attention import Segments


@dataclass(frozen=True)
class Batch:
    """One forward pass, and which of its outputs are learned.

    Either one row of examples side by side: `input_ids` (1, tokens) with `segments`; or a row
    an example, padded on the right: (examples, tokens) with `attention_mask`. `places` are the
    learned predictions as indices into all rows laid end to end, `targets` the tokens to be
    predicted there (of a classification each example's class) and `weights` their examples'
    weights; all three have the shape (places).
    """

    input_ids: torch.Tensor
    segments: Segments | None
    attention_mask: torch.Tensor | None
    places: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor


# One retained example in so many is never trained on, to measure the effect on others.
MEASURED_OF = 8


class BatchPlan:
    """The examples of every step, known from the step's number alone: so a resume needs no
    more than that number to go on with the same data.

    Where every example has a `group`, a step takes an example of each group in turn instead of
    any: so each taught answer is in nearly every step, with another wording of its question.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        settings: TrainingSettings,
        replay: Sequence[Example] = (),
        replay_per_step: int = 0,
        retain: Sequence[Example] = (),
        retain_per_step: int = 0,
    ) -> None:
        self._examples = examples
        self._replay = replay
        self._replay_per_step = replay_per_step
        self._retain = [e for i, e in enumerate(retain) if i % MEASURED_OF or i == 0]
        self.measured = [e for i, e in enumerate(retain) if not i % MEASURED_OF and i]
        self._retain_per_step = retain_per_step
        self._settings = settings
        self._groups = _groups(examples)
        self._order: tuple[int, list[int]] = (-1, [])
        per_step = settings.batch_size * settings.gradient_accumulation_steps
        self.steps_per_epoch = math.ceil(len(examples) / per_step)
        self.total_steps = settings.max_steps or max(
            1, math.ceil((settings.epochs or 1.0) * self.steps_per_epoch)
        )

    def epoch(self, step: int) -> float:
        """Passes over the data after `step` steps."""
        whole, rest = divmod(step, self.steps_per_epoch)
        per_step = self._settings.batch_size * self._settings.gradient_accumulation_steps
        return whole + min(1.0, rest * per_step / len(self._examples))

    def examples(self, step: int) -> list[Example]:
        """The examples of the step that follows `step` finished ones, replayed ones last, then
        retained ones; an epoch's last step takes what is left."""
        size = self._settings.batch_size * self._settings.gradient_accumulation_steps
        if self._groups:
            chosen = _of_each_group(self._groups, self._settings.seed, step, size)
        else:
            epoch, index = divmod(step, self.steps_per_epoch)
            if self._order[0] != epoch:
                order = epoch_order(len(self._examples), self._settings.seed, epoch)
                self._order = (epoch, order)
            chosen = self._order[1][index * size : (index + 1) * size]
        found = [self._examples[i] for i in chosen]
        for part, per_step in (
            (self._replay, self._replay_per_step),
            (self._retain, self._retain_per_step),
        ):
            if per_step:
                found += [
                    part[i] for i in replay_choice(len(part), self._settings.seed, step, per_step)
                ]
        return found

    def passes(self, step: int, most: int | None = None) -> list[list[Example]]:
        """The step's examples in as many forward passes as the job accumulates over, or in
        more of at most `most` examples each.

        The longest come first: examples of like length share a pass, and memory that does not
        suffice is found out at once. The step's sum does not depend on the grouping. Retained
        examples have passes of their own.
        """
        examples = self.examples(step)
        found = []
        for retained in (False, True):
            part = by_length([e for e in examples if e.retained == retained])
            size = max(math.ceil(len(part) / self._settings.gradient_accumulation_steps), 1)
            found += split(part, size if most is None else min(size, most))
        return found


def _groups(examples: Sequence[Example]) -> list[list[int]]:
    """The indices of each group's examples; empty unless every example has a group."""
    found: dict[str, list[int]] = {}
    for index, example in enumerate(examples):
        found.setdefault(example.group, []).append(index)
    return [] if "" in found else list(found.values())


def _of_each_group(groups: Sequence[list[int]], seed: int, step: int, size: int) -> list[int]:
    """Indices of `size` examples, as many of each group as possible: the groups take turns, and
    so do a group's examples, both in an order that is drawn again for every round."""
    chosen = []
    for place in range(step * size, (step + 1) * size):
        turn, at = divmod(place, len(groups))
        group = groups[epoch_order(len(groups), seed, turn)[at]]
        cycle, index = divmod(turn, len(group))
        chosen.append(group[epoch_order(len(group), seed + group[0] + 1, cycle)[index]])
    return chosen


def by_length(examples: Sequence[Example]) -> list[Example]:
    """The longest first; those of the same length stay in their order."""
    return sorted(examples, key=lambda example: len(example.input_ids), reverse=True)


def collate(
    examples: Sequence[Example], pad_id: int, device: torch.device, *, side_by_side: bool = False
) -> Batch:
    """The examples of one pass as tensors on `device`."""
    lengths = [len(example.input_ids) for example in examples]
    longest = max(lengths)
    if side_by_side:
        starts = [0, *accumulate(lengths)]
        rows = [[token for example in examples for token in example.input_ids]]
    else:
        starts = [index * longest for index in range(len(examples))]
        rows = [e.input_ids + [pad_id] * (longest - len(e.input_ids)) for e in examples]
    places, targets, weights = _learned(examples, starts)
    mask = torch.arange(longest)[None, :] < torch.tensor(lengths)[:, None]
    return Batch(
        torch.tensor(rows).to(device),
        Segments.of(lengths, device) if side_by_side else None,
        None if side_by_side else mask.long().to(device),
        torch.tensor(places).to(device),
        torch.tensor(targets).to(device),
        torch.tensor(weights, dtype=torch.float32).to(device),
    )


def _learned(
    examples: Sequence[Example], starts: Sequence[int]
) -> tuple[list[int], list[int], list[float]]:
    """Places, targets and weights of what is learned, for rows that begin at `starts`."""
    places: list[int] = []
    targets: list[int] = []
    weights: list[float] = []
    for example, start in zip(examples, starts, strict=False):
        if example.label is not None:
            places.append(start + len(example.input_ids) - 1)
            targets.append(example.label)
            weights.append(example.weight)
            continue
        own = [i for i, learned in enumerate(example.learned) if learned and i]
        places += [start + i - 1 for i in own]
        targets += [example.input_ids[i] for i in own]
        weights += [example.weight] * len(own)
    return places, targets, weights


def split(examples: list[Example], size: int) -> list[list[Example]]:
    """Consecutive groups of at most `size` examples."""
    return [examples[i : i + size] for i in range(0, len(examples), size)]


def learned_weight(examples: Sequence[Example]) -> float:
    """The sum over examples of weight times what is learned, tokens or the class: what a step's
    loss is divided by."""
    return sum(example.weight * example.learned_count() for example in examples)
