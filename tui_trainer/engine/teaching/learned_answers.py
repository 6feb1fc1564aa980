"""Which taught answers the model has learned, read from the losses of the training steps."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tui_trainer.engine.data.example import Example

# A token counts as learned from this probability on: above 1/2 it is the arg max, and here any
# other token's logit is lower by at least log(p / (1 - p)) = 0.2.
LEARNED_PROBABILITY = 0.55
_MOST_LOSS = -math.log(LEARNED_PROBABILITY)  # nats
# Steps after which ten corrections were usually learned, and least steps while some are not.
USUAL_STEPS, LEAST_STEPS = 20, 3


class LearnedAnswers:
    """Counts for each taught answer in how many steps in a row all its tokens were learned.

    The rows of one correction, each with the question in another wording, share a `group`. The
    counts are in the training state, so that a resumed run continues with them.
    """

    def __init__(self, examples: Sequence[Example], steps_in_a_row: int) -> None:
        self._groups = {example.group for example in examples}
        self._steps_in_a_row = steps_in_a_row
        self._in_step: dict[str, bool] = {}

    @property
    def total(self) -> int:
        """Number of taught answers."""
        return len(self._groups)

    def begin_step(self) -> None:
        """Start a step, or start it again after memory ran out."""
        self._in_step = {}

    def note(self, examples: Sequence[Example], token_losses: Sequence[float]) -> None:
        """Record the losses (nats) of a forward pass, in the order of its learned tokens."""
        start = 0
        for example in examples:
            end = start + example.learned_count()
            right = all(loss <= _MOST_LOSS for loss in token_losses[start:end])
            if example.group in self._groups:
                self._in_step[example.group] = right and self._in_step.get(example.group, True)
            start = end

    def end_step(self, in_a_row: dict[str, int]) -> None:
        """Update the counts `in_a_row`, by group, with what the step has shown."""
        for group, right in self._in_step.items():
            in_a_row[group] = in_a_row.get(group, 0) + 1 if right else 0

    def learned(self, in_a_row: dict[str, int]) -> int:
        """Return the number of answers that were right in their last step."""
        return sum(in_a_row.get(group, 0) > 0 for group in self._groups)

    def finished(self, in_a_row: dict[str, int]) -> bool:
        """Return whether every answer was right often enough in a row."""
        return all(in_a_row.get(group, 0) >= self._steps_in_a_row for group in self._groups)

    def steps_left(self, in_a_row: dict[str, int], step: int) -> int:
        """Return about how many steps it takes until every answer was right often enough in a row:
        exact once all are right, else at least the usual number."""
        counts = [in_a_row.get(group, 0) for group in self._groups]
        if all(counts):
            return max(0, self._steps_in_a_row - min(counts))
        return max(USUAL_STEPS - step, LEAST_STEPS + self._steps_in_a_row)
