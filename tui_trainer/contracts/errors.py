"""The one kind of error a user is meant to read."""

from __future__ import annotations


class UserError(Exception):
    """A user's mistake or a fact of their machine, told in one sentence.

    The text says what is wrong, where, and what would be right. The command line prints
    it to standard error and ends with `exit_status`; the app shows it as a notice.
    """

    def __init__(self, message: str, exit_status: int = 2) -> None:
        super().__init__(message)
        self.exit_status = exit_status
