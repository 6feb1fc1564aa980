"""The chat session in its threads: what is reported when it cannot be opened."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tui_trainer.contracts.errors import UserError
from tui_trainer.tui.chat.news import ChatUnavailable, LineEnded, News
from tui_trainer.tui.chat.session_thread import SessionThread


def news_of(open_session: Callable[..., Any], *lines: str) -> list[News]:
    """The news after the lines were executed."""
    found: list[News] = []
    ended = threading.Event()

    def collect() -> None:
        found.extend(thread.drain_news())
        if sum(isinstance(one, LineEnded) for one in found) == len(lines):
            ended.set()

    thread = SessionThread(collect, open_session)
    for line in lines:
        thread.submit(line)
    assert ended.wait(30)
    thread.close()
    return found


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UserError("the weights are torn"), "the weights are torn"),
        (RuntimeError("no such thing"), "unexpected RuntimeError: no such thing"),
    ],
)
def test_a_session_that_cannot_be_opened_makes_the_chat_unavailable(
    error: Exception, reason: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    news = news_of(fail, "why?", "/help")
    assert [one.reason for one in news if isinstance(one, ChatUnavailable)] == [reason, reason]
    assert [one.done for one in news if isinstance(one, LineEnded)] == [False, False]


def test_the_context_of_a_session_that_cannot_be_opened_is_an_error() -> None:
    def fail(*_: object) -> Any:
        raise UserError("the weights are torn")

    thread = SessionThread(lambda: None, fail)
    with pytest.raises(UserError, match="the chat screen shows why"):
        thread.wait_for_context()
    thread.close()
