"""What the readers of other tools' runs have in common."""

from __future__ import annotations

from tui_trainer.watch.formats.record_columns import RowBuilder
from tui_trainer.watch.tables.history import History
from tui_trainer.watch.tables.metric_decoder import MOST_COLUMNS
from tui_trainer.watch.tables.metric_names import MetricNames

# What a dashboard would show, and the word for it where a run does not record it.
_USUAL = {
    "loss": "loss",
    "learning_rate": "learning rate",
    "gradient_norm": "gradient norm",
    "val_loss": "evaluation loss",
    "time": "time of the rows",
}


class ForeignSource:
    """Tables, names and sentences; the readers add `read` and `facts`."""

    def __init__(self) -> None:
        self.history = History()
        self.naming = MetricNames()
        self.rows = RowBuilder()
        self._warnings: dict[str, str] = {}

    @property
    def whole(self) -> bool:
        """Whether no rows were passed over."""
        return True

    def reset(self) -> None:
        """Forgets all rows, for a file that is another one than before."""
        self.history, self.naming, self.rows = History(), MetricNames(), RowBuilder()

    def flush(self) -> bool:
        """Hands the rows collected so far to the tables; tells whether there were any."""
        rows = self.rows.take_rows()
        if rows is None:
            return False
        self.history.append(rows)
        return True

    def settle(self) -> bool:
        """Nothing is held back."""
        return False

    def warn(self, key: str, sentence: str) -> bool:
        """Notes what was odd, a later sentence replacing one of the same key; tells whether it
        is new."""
        changed = self._warnings.get(key) != sentence
        self._warnings[key] = sentence
        return changed

    def clear_warning(self, key: str) -> bool:
        """Takes a sentence back; tells whether there was one."""
        return self._warnings.pop(key, None) is not None

    def warnings(self) -> list[str]:
        """What was strange, a sentence each."""
        said = list(self._warnings.values())
        if self.rows.left_out:
            said.append(f"more than {MOST_COLUMNS} metrics; the later ones are left out")
        return said

    def lacks(self, *further: str) -> tuple[str, ...]:
        """What the rows read so far do not record, and `further` words."""
        seen = self.rows.seen
        return (*(word for name, word in _USUAL.items() if name not in seen), *further)
