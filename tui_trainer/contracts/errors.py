"""Errors whose message is shown to the user, and the reason of an exception in one line."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any

import msgspec

from tui_trainer.text import formats

# What decoding raises for bad content of a file or a line: not JSON, not UTF-8, a wrong type,
# nested too deeply, a number out of range. `msgspec.MsgspecError` and `UnicodeError` are
# `ValueError`s.
BAD_CONTENT = (ValueError, RecursionError, OverflowError)
_LONGEST_REASON = 240  # characters
# Texts of errors that libraries raise without a type of their own for lack of memory.
_NO_MEMORY = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")


class UserError(Exception):
    """An error that the user can act on, in one sentence.

    The message names what is wrong, where, and what to do. The command line prints it to standard
    error and exits with `exit_status`; the app shows it as a notification. `detail` has values for
    programs, which are written to the event of a run that it ends.
    """

    detail: Mapping[str, Any] = {}

    def __init__(self, message: str, exit_status: int = 2) -> None:
        super().__init__(message)
        self.exit_status = exit_status


class NoMemoryError(UserError):
    """Memory ran out: a smaller configuration may work. `loading`: before the base was loaded."""

    def __init__(self, message: str, *, loading: bool = False) -> None:
        super().__init__(message, 1)
        self.loading = loading


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of Python or of a library such as torch means that memory ran out."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _NO_MEMORY)


def error_text(error: BaseException) -> str:
    """An error as the user is shown it: the message of a `UserError`; of others, which are
    unexpected, the type and message."""
    if isinstance(error, UserError):
        return str(error)
    return f"unexpected {type(error).__name__}: {error}"


def reason_of(error: BaseException) -> str:
    """Why reading failed, in one line.

    Exceptions in `BAD_CONTENT` and `OSError` get a plain text, others their type and message.
    """
    if isinstance(error, OSError) and error.strerror:
        return formats.one_line(error.strerror, _LONGEST_REASON)
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8: {error.reason} at byte {formats.count(error.start)}"
    if isinstance(error, msgspec.ValidationError):
        return formats.one_line(str(error), _LONGEST_REASON)
    if isinstance(error, msgspec.DecodeError):
        return formats.one_line(f"not JSON: {error}", _LONGEST_REASON)
    if isinstance(error, RecursionError) and "deserializing" in str(error):
        return "nested too deeply"
    return formats.one_line(f"{type(error).__name__}: {error}", _LONGEST_REASON)
