"""Chat processes that are shared by many tests: starting one takes seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tui_trainer.chat.client import ChatClient


@pytest.fixture(scope="session")
def qwen2_chat(qwen2_base: Path) -> Iterator[ChatClient]:
    """A process with a random Qwen2."""
    with ChatClient(str(qwen2_base), threads=1) as client:
        yield client


@pytest.fixture
def chat(qwen2_chat: ChatClient) -> Iterator[ChatClient]:
    """The shared process, with the base alone before and after the test."""
    qwen2_chat.use({}, {})
    yield qwen2_chat
    qwen2_chat.use({}, {})
