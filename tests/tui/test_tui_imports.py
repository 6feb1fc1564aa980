"""What the screens load before a chat is wanted."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys, tui_trainer.tui.app
late = ("torch", "tui_trainer.repl", "tui_trainer.chat", "tui_trainer.teaching")
print(*[name for name in late if name in sys.modules])
"""


def test_the_app_loads_neither_chat_nor_teaching_nor_torch() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == []
