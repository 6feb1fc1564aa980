"""One training example: token ids and the mask of those that count in the loss."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Example:
    """One tokenised row."""

    input_ids: list[int]  # token ids, without padding
    learned: list[int]  # 0 or 1 per token: 1 where it counts in the loss; all 0 with a class
    weight: float  # factor of its loss
    label: int | None = None  # index of its class in a classification, else None
    group: str = ""  # rows with the same one teach the same answer; empty: unknown
    retained: bool = False  # its tokens keep the base's predictions instead of being learned
    where: str = field(default="", compare=False)  # its file and line: `train.jsonl line 12`

    def learned_count(self) -> int:
        """Count the predictions in the loss: tokens, or the one class."""
        return sum(self.learned[1:]) if self.label is None else 1
