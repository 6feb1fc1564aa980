"""Background threads for slow work, and the type of the functions that post their results."""

from __future__ import annotations

import threading
from collections.abc import Callable

from textual.message import Message

Post = Callable[[Message], object]


def in_background(name: str, work: Callable[[], object]) -> None:
    """Run `work` in a daemon thread: leaving the app does not wait for it, as it would for
    asyncio's own pool."""
    threading.Thread(target=work, name=name, daemon=True).start()
