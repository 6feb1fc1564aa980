"""Conversion of an unexpected error in one run or file into a message.

The traceback is logged; `--debug` shows the log, otherwise only the message is shown.
"""

from __future__ import annotations

import logging
from pathlib import Path

from tui_trainer.contracts.errors import reason_of

_log = logging.getLogger("tui_trainer.boundary")


def caught(error: Exception, what: Path) -> str:
    """Logs an error in reading a run or file, and returns its reason in one line."""
    _log.debug("%s cannot be read", what, exc_info=error)
    return reason_of(error)


def file_problem(error: OSError, file: Path) -> str:
    """`NAME cannot be read: REASON`, for the file that the error names, else for `file`."""
    name = Path(error.filename).name if isinstance(error.filename, str) else file.name
    return f"{name} cannot be read: {reason_of(error)}"
