"""Which examples an optimizer step takes, and their tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tui_trainer.contracts.job import TrainingSettings
from tui_trainer.engine.data import Example, epoch_order, replay_choice


@dataclass(frozen=True)
class Batch:
    """One forward pass: tensors of shape (examples, tokens), padded on the right.

    `weights` is the weight of each position's prediction of the next token, shape
    (examples, tokens - 1), zero where nothing is learned. `tokens` counts without padding.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    weights: torch.Tensor
    tokens: int


class Plan:
    """The examples of every step, known from the step's number alone: so a resume needs no
    more than that number to go on with the same data."""

    def __init__(
        self,
        examples: Sequence[Example],
        settings: TrainingSettings,
        replay: Sequence[Example] = (),
        replay_per_step: int = 0,
    ) -> None:
        self._examples = examples
        self._replay = replay
        self._replay_per_step = replay_per_step
        self._settings = settings
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
        """The examples of the step that follows `step` finished ones, replayed ones last; an
        epoch's last step takes what is left."""
        epoch, index = divmod(step, self.steps_per_epoch)
        if self._order[0] != epoch:
            order = epoch_order(len(self._examples), self._settings.seed, epoch)
            self._order = (epoch, order)
        size = self._settings.batch_size * self._settings.gradient_accumulation_steps
        chosen = self._order[1][index * size : (index + 1) * size]
        drawn = replay_choice(len(self._replay), self._settings.seed, step, self._replay_per_step)
        return [*(self._examples[i] for i in chosen), *(self._replay[i] for i in drawn)]

    def passes(self, step: int) -> list[list[Example]]:
        """The step's examples in as many forward passes as the job accumulates over."""
        examples = self.examples(step)
        size = math.ceil(len(examples) / self._settings.gradient_accumulation_steps)
        return split(examples, max(size, 1))


def collate(examples: Sequence[Example], pad_id: int, device: torch.device) -> Batch:
    """Pads the examples to the longest and moves them to `device`."""
    longest = max(len(example.input_ids) for example in examples)
    input_ids = torch.full((len(examples), longest), pad_id, dtype=torch.long)
    attention_mask = torch.zeros((len(examples), longest), dtype=torch.long)
    weights = torch.zeros((len(examples), longest - 1), dtype=torch.float32)
    for i, example in enumerate(examples):
        length = len(example.input_ids)
        input_ids[i, :length] = torch.tensor(example.input_ids)
        attention_mask[i, :length] = 1
        learned = torch.tensor(example.learned[1:], dtype=torch.float32)
        weights[i, : length - 1] = learned * example.weight
    return Batch(
        input_ids.to(device),
        attention_mask.to(device),
        weights.to(device),
        tokens=sum(len(example.input_ids) for example in examples),
    )


def split(examples: list[Example], size: int) -> list[list[Example]]:
    """Consecutive groups of at most `size` examples."""
    return [examples[i : i + size] for i in range(0, len(examples), size)]


def learned_weight(examples: Sequence[Example]) -> float:
    """The sum over examples of weight times learned tokens: what a step's loss is divided by."""
    return sum(example.weight * sum(example.learned[1:]) for example in examples)
