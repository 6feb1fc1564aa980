"""Data sets of the Hugging Face hub as objects, one per row, from the local cache where there is no
network."""

from __future__ import annotations

from typing import Any

from tui_trainer.contracts.errors import UserError
from tui_trainer.engine.data.files.values import Values
from tui_trainer.store.data_sources import NEEDS_DATASETS, HubDataset
from tui_trainer.text.formats import one_line

_BATCH = 1024  # rows converted at once
_SHOWN = 200  # characters of an error of `datasets`


def read_hub(wanted: HubDataset, named: str) -> Values:
    """Yield the rows of a data set; classes have their names instead of their numbers. `named` is
    how the job names the data set. Raises `UserError`."""
    try:
        import datasets  # an optional extra
    except ImportError:
        raise UserError(f"{named}: a data set of the hub {NEEDS_DATASETS}") from None
    datasets.disable_progress_bars()
    number = 0
    try:
        found = datasets.load_dataset(wanted.name, wanted.config, split=wanted.split)
        classes = {
            name: feature
            for name, feature in found.features.items()
            if isinstance(feature, datasets.ClassLabel)
        }
        # As Arrow, so that images and sound are not decoded.
        for batch in found.with_format("arrow").iter(_BATCH):
            for row in batch.to_pylist():
                for name, feature in classes.items():
                    row[name] = _class_name(feature, row[name])
                number += 1
                yield "row", number, row
    except Exception as error:  # `datasets` and what it calls raise errors of many kinds
        lines = str(error).strip().splitlines() or [""]
        reason = one_line(f"{type(error).__name__}: {lines[0]}", _SHOWN)
        raise UserError(
            f"{named} cannot be loaded ({reason}): check the id, the configuration and the split, "
            "or load it once where there is network"
        ) from error


def _class_name(feature: Any, value: Any) -> str | None:
    return feature.names[value] if isinstance(value, int) and value >= 0 else None
