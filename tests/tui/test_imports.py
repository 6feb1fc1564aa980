"""What the app loads before its first paint."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys, tui_trainer.tui.app
late = (
    "torch", "tui_trainer.repl", "tui_trainer.chat", "tui_trainer.teaching",
    # What the first paint does without, each 20 to 100 ms:
    "numpy", "psutil", "tomlkit", "watchdog", "importlib.metadata", "tui_trainer.watch.snapshots",
    "yaml",
)
print(*[name for name in late if name in sys.modules])
"""


def test_the_first_paint_waits_for_nothing_that_comes_later() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == []
