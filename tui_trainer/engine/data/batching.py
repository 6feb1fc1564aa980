"""The examples of each optimizer step, their order, and their tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, takewhile

import numpy as np
import numpy.typing as npt
import torch

from tui_trainer.contracts.job import TrainingSettings
from tui_trainer.engine.data.example import Example, Examples
from tui_trainer.models.kernels.packed_attention import Segments

Order = npt.NDArray[np.int64]  # indices of examples


@dataclass(frozen=True)
class Batch:
    """The tensors of one forward pass: either packed, all examples in one row without padding, or
    padded on the right, one row per example."""

    input_ids: torch.Tensor  # (1, tokens) packed, else (examples, tokens)
    segments: Segments | None  # bounds of the packed examples; None where padded
    attention_mask: torch.Tensor | None  # (examples, tokens), 1 for a token; None where packed
    positions: torch.Tensor  # (learned,): positions in the flattened rows that predict a target
    targets: torch.Tensor  # (learned,): tokens to predict; of a classification the classes
    weights: torch.Tensor  # (learned,): weights of the examples


# One retained example in so many is never trained on, to measure the effect on others.
MEASURED_OF = 8


class BatchPlan:
    """The examples of every step. They follow from the step's number alone, so that a resumed run
    continues with the same data.

    If every example has a `group`, each step takes examples of the groups in turn, so that every
    taught answer is in nearly every step, each time with another wording of its question.
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
        self._groups = _indices_by_group(examples)
        self._order: tuple[int, Order] = (-1, np.zeros(0, dtype=np.int64))
        per_step = settings.batch_size * settings.gradient_accumulation_steps
        self.steps_per_epoch = math.ceil(len(examples) / per_step)
        self.total_steps = settings.max_steps or max(
            1, math.ceil((settings.epochs or 1.0) * self.steps_per_epoch)
        )

    def epoch(self, step: int) -> float:
        """Return the passes over the data after `step` steps."""
        whole, rest = divmod(step, self.steps_per_epoch)
        per_step = self._settings.batch_size * self._settings.gradient_accumulation_steps
        return whole + min(1.0, rest * per_step / len(self._examples))

    def examples(self, step: int) -> list[Example]:
        """Return the examples of the step after `step` finished ones, replayed ones last, then
        retained ones. An epoch's last step has the remaining examples."""
        size = self._settings.batch_size * self._settings.gradient_accumulation_steps
        if self._groups:
            chosen = _choose_by_group(self._groups, self._settings.seed, step, size)
        else:
            epoch, index = divmod(step, self.steps_per_epoch)
            if self._order[0] != epoch:
                order = epoch_order(len(self._examples), self._settings.seed, epoch)
                self._order = (epoch, order)
            chosen = self._order[1][index * size : (index + 1) * size].tolist()
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

    def passes(self, step: int, most: int | None = None) -> list[Sequence[Example]]:
        """Return the step's examples in as many forward passes as the job accumulates over, or in
        more passes of at most `most` examples each.

        The longest come first, so that examples of similar length share a pass and a lack of
        memory shows at once. Retained examples have passes of their own. The step's gradient does
        not depend on the grouping.
        """
        examples = self.examples(step)
        found: list[Sequence[Example]] = []
        for retained in (False, True):
            part = longest_first([e for e in examples if e.retained == retained])
            size = max(math.ceil(len(part) / self._settings.gradient_accumulation_steps), 1)
            found += groups_of(part, size if most is None else min(size, most))
        return found


def _indices_by_group(examples: Sequence[Example]) -> list[list[int]]:
    """Return the indices of each group's examples; nothing unless every example has a group."""
    groups = examples.groups if isinstance(examples, Examples) else [e.group for e in examples]
    found: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        found.setdefault(group, []).append(index)
    return [] if "" in found else list(found.values())


def _choose_by_group(groups: Sequence[list[int]], seed: int, step: int, size: int) -> list[int]:
    """Return the indices of a step's `size` examples, as equally many of each group as possible.
    The groups rotate, and so do the examples of a group, in an order drawn for every round."""
    chosen = []
    for position in range(step * size, (step + 1) * size):
        rounds, index = divmod(position, len(groups))
        group = groups[int(epoch_order(len(groups), seed, rounds)[index])]
        cycle, index = divmod(rounds, len(group))
        chosen.append(group[int(epoch_order(len(group), seed + group[0] + 1, cycle)[index])])
    return chosen


def epoch_order(examples: int, seed: int, epoch: int) -> Order:
    """Return the order of an epoch's examples, which depends on seed and epoch."""
    return np.random.default_rng([seed, epoch]).permutation(examples)


def replay_choice(examples: int, seed: int, step: int, count: int) -> list[int]:
    """Return which replayed examples join a step, drawn without replacement for each step."""
    generator = np.random.default_rng([seed, step, 1])  # the 1 sets it apart from epoch_order
    drawn: list[int] = generator.choice(examples, min(count, examples), replace=False).tolist()
    return drawn


def lengths_of(examples: Sequence[Example]) -> Order:
    """Return the number of tokens of each example."""
    if isinstance(examples, Examples):
        return examples.lengths
    return np.array([len(example.input_ids) for example in examples], dtype=np.int64)


def longest_first(examples: Sequence[Example]) -> Sequence[Example]:
    """Sort examples by descending length; those of the same length keep their order."""
    order = np.argsort(-lengths_of(examples), kind="stable")
    if isinstance(examples, Examples):
        return examples.take(order)
    return [examples[at] for at in order.tolist()]


def collate(
    examples: Sequence[Example], pad_id: int, device: torch.device, *, packed: bool = False
) -> Batch:
    """Return the examples of one pass as tensors on `device`, packed or padded with `pad_id`.

    Packed examples that begin alike, as those with the same system prompt do, share these tokens;
    not on CUDA, whose attention kernel for segments has no shared tokens.
    """
    lengths = [len(example.input_ids) for example in examples]
    longest, prefix = max(lengths), 0
    if packed:
        prefix = _shared_prefix(examples) if device.type != "cuda" else 0
        ends = accumulate(length - prefix for length in lengths)
        starts = [0, *ends]  # of the whole examples, the shared tokens before them included
        rows = [[*examples[0].input_ids[:prefix]]]
        rows[0] += [token for example in examples for token in example.input_ids[prefix:]]
    else:
        starts = [index * longest for index in range(len(examples))]
        rows = [e.input_ids + [pad_id] * (longest - len(e.input_ids)) for e in examples]
    positions, targets, weights = _learned(examples, starts)
    mask = torch.arange(longest)[None, :] < torch.tensor(lengths)[:, None]
    return Batch(
        torch.tensor(rows).to(device),
        Segments.of(lengths, device, prefix) if packed else None,
        None if packed else mask.long().to(device),
        torch.tensor(positions).to(device),
        torch.tensor(targets).to(device),
        torch.tensor(weights, dtype=torch.float32).to(device),
    )


def _shared_prefix(examples: Sequence[Example]) -> int:
    """Return with how many tokens all examples begin, as far as none of them predicts one that
    counts in the loss."""
    if len(examples) < 2:
        return 0
    most = min(_first_prediction(example) for example in examples)
    columns = zip(*(example.input_ids[:most] for example in examples), strict=True)
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))


def _first_prediction(example: Example) -> int:
    """Return the position of the first token whose prediction counts in the loss."""
    if example.label is not None:
        return len(example.input_ids) - 1
    learned = (i - 1 for i, counts in enumerate(example.learned) if counts and i)
    return next(learned, len(example.input_ids) - 1)


def _learned(
    examples: Sequence[Example], starts: Sequence[int]
) -> tuple[list[int], list[int], list[float]]:
    """Return positions, targets and weights as in `Batch`, for examples that start at `starts`."""
    positions: list[int] = []
    targets: list[int] = []
    weights: list[float] = []
    for example, start in zip(examples, starts, strict=False):
        if example.label is not None:
            positions.append(start + len(example.input_ids) - 1)
            targets.append(example.label)
            weights.append(example.weight)
            continue
        own = [i for i, learned in enumerate(example.learned) if learned and i]
        positions += [start + i - 1 for i in own]
        targets += [example.input_ids[i] for i in own]
        weights += [example.weight] * len(own)
    return positions, targets, weights


def groups_of(examples: Sequence[Example], size: int) -> list[Sequence[Example]]:
    """Return consecutive groups of at most `size` examples."""
    return [examples[i : i + size] for i in range(0, len(examples), size)]


def learned_weight(examples: Sequence[Example]) -> float:
    """Return the sum over examples of weight times learned tokens (1 for a class): the divisor of
    a step's loss."""
    if isinstance(examples, Examples):
        pairs = zip(examples.weights.tolist(), examples.learned_counts.tolist(), strict=True)
        return float(sum(weight * learned for weight, learned in pairs))
    return sum(example.weight * example.learned_count() for example in examples)
