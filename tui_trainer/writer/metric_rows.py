"""Lines of `metrics.jsonl` from the values that a loop logs."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from tui_trainer.watch.tables import metric_names
from tui_trainer.writer.coerce import number
from tui_trainer.writer.run_files import WriteWarnings

# Keys of a line that are not metrics.
_RESERVED = frozenset({"kind", "step", "time", "nonfinite"})


class MetricRows:
    """Sorts logged values into a training line and an evaluation line, under canonical names.

    Values that are not numbers are left out, with one warning for each name.
    """

    def __init__(self, write_warnings: WriteWarnings) -> None:
        self._warnings = write_warnings
        self._naming = metric_names.MetricNames()
        self._known: dict[str, tuple[str, bool] | None] = {}

    def step(self, step: object) -> int | None:
        """The step as a whole number, or None, with a warning, if it is not one."""
        if type(step) is int:
            return step
        value = number(step)
        if value is not None and math.isfinite(value) and value == int(value):
            return int(value)
        self._warnings.warn(
            "step", f"step {step!r} is not a whole number; its metrics are left out"
        )
        return None

    def sort(
        self, step: int, values: Mapping[str, object]
    ) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """The training line and the evaluation line; None for a line without values."""
        new = [name for name in values if name not in self._known]
        if new:
            self._add_names(new)
        train: dict[str, Any] = {"kind": "train", "step": step}
        evaluation: dict[str, Any] = {"kind": "eval", "step": step}
        epoch: int | float | None = None
        for given, value in values.items():
            known = self._known[given]
            if known is None or value is None:
                continue
            measured = value if type(value) is float else number(value)
            if measured is None:
                self._warn_of_value(given, value)
            elif known[0] == "epoch":
                epoch = measured
            else:
                _put(evaluation if known[1] else train, known[0], measured)
        return _finished(train, epoch), _finished(evaluation, epoch)

    def _add_names(self, names: list[str]) -> None:
        usable = []
        for name in names:
            if (
                not isinstance(name, str)
                or not name
                or {name, metric_names.canonical(name)} & _RESERVED
            ):
                self._known[name] = None
                self._warnings.warn(
                    f"name {name!r}", f"{name!r} cannot be a metric's name; its values are left out"
                )
            else:
                usable.append(name)
        self._naming.learn(usable)
        for name in usable:
            shown = self._naming(name)
            self._known[name] = (shown, metric_names.is_eval(shown) or metric_names.is_eval(name))

    def _warn_of_value(self, name: str, value: object) -> None:
        what = f"{type(value).__name__} {str(value)[:40]!r}" if isinstance(value, str) else None
        self._warnings.warn(
            f"value of {name}",
            f"{name} is a {what or type(value).__name__}, not a number; it is left out",
        )


def _put(line: dict[str, Any], name: str, value: int | float) -> None:
    if math.isfinite(value):
        line[name] = value
    else:
        line[name] = None
        line.setdefault("nonfinite", []).append(name)


def _finished(line: dict[str, Any], epoch: int | float | None) -> dict[str, Any] | None:
    if len(line) == 2:
        return None
    if epoch is not None:
        _put(line, "epoch", epoch)
    line["time"] = time.time()
    return line
