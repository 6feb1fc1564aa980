"""The base class of the readers of other tools' runs."""

from __future__ import annotations

from tui_trainer.watch.formats.record_columns import RowBuilder
from tui_trainer.watch.tables.history import History
from tui_trainer.watch.tables.metric_decoder import MOST_COLUMNS
from tui_trainer.watch.tables.metric_names import MetricNames

# Values that the dashboard shows, with their label where a run does not record them.
_USUAL = {
    "loss": "loss",
    "learning_rate": "learning rate",
    "gradient_norm": "gradient norm",
    "val_loss": "evaluation loss",
    "time": "time of the rows",
}


class ForeignSource:
    """Tables, names and warnings of a run; subclasses add `read` and `facts`."""

    def __init__(self) -> None:
        self.history = History()
        self.naming = MetricNames()
        self.rows = RowBuilder()
        self._warnings: dict[str, str] = {}

    @property
    def whole(self) -> bool:
        """Whether no rows were skipped."""
        return True

    def reset(self) -> None:
        """Drops all rows, after the file was replaced."""
        self.history, self.naming, self.rows = History(), MetricNames(), RowBuilder()

    def flush(self) -> bool:
        """Adds the collected rows to the tables; whether there were any."""
        rows = self.rows.take_rows()
        if rows is None:
            return False
        self.history.append(rows)
        return True

    def settle(self) -> bool:
        """Does nothing: no data is held back."""
        return False

    def warn(self, key: str, sentence: str) -> bool:
        """Adds a warning, or replaces the one with the same key; whether it is new."""
        changed = self._warnings.get(key) != sentence
        self._warnings[key] = sentence
        return changed

    def clear_warning(self, key: str) -> bool:
        """Removes a warning; whether there was one."""
        return self._warnings.pop(key, None) is not None

    def warnings(self) -> list[str]:
        """Warnings about the files, one sentence each."""
        warnings = list(self._warnings.values())
        if self.rows.left_out:
            warnings.append(f"more than {MOST_COLUMNS} metrics; the later ones are left out")
        return warnings

    def lacks(self, *further: str) -> tuple[str, ...]:
        """Labels of what the rows so far do not record, followed by `further`."""
        seen = self.rows.seen
        return (*(word for name, word in _USUAL.items() if name not in seen), *further)
