"""Opens the chat session on the user's own stores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tui_trainer.contracts.chat.session import Event
from tui_trainer.contracts.errors import UserError
from tui_trainer.tui.common.protocols import OpenSession

if TYPE_CHECKING:  # monitor does not load it
    from tui_trainer.repl.session import ChatSession


def real_session(model: str, runs_dir: Path) -> OpenSession:
    """A function that opens the session on the user's own stores, with the current settings."""

    def open_real(emit: Callable[[Event], None], on_status: Callable[[str], None]) -> ChatSession:
        from tui_trainer.launch.engine_process import NEEDED, REPAIR, check_installed
        from tui_trainer.repl.factory import open_session
        from tui_trainer.store.settings import load_settings

        try:
            check_installed()
        except UserError:
            raise UserError(f"the chat needs {', '.join(NEEDED)}; install with: {REPAIR}") from None
        settings = load_settings()
        return open_session(
            model,
            settings=settings.teaching,
            chat=settings.chat,
            runs_dir=runs_dir,
            emit=emit,
            on_status=on_status,
        )

    return open_real
