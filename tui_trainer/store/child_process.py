"""How processes of ours are started: the command line, the environment, the streams."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

# What a launcher of several processes sets for each: meant for this process, not for ones that it
# starts.
_LAUNCHED = (
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
    "TORCHELASTIC_RUN_ID",
)


def module_command(module: str, *arguments: str, safe_path: bool = True) -> list[str]:
    """The command line that runs a module with this interpreter.

    With `safe_path` (`-P`) a user's own `datasets.py` in the current folder is not imported.
    """
    return [sys.executable, *(["-P"] if safe_path else []), "-m", module, *arguments]


def environment() -> dict[str, str]:
    """This process's environment, with what an engine needs to print at once and not to fork
    tokenizer threads, and without what would make it one of several processes."""
    own = {name: value for name, value in os.environ.items() if name not in _LAUNCHED}
    return {**own, "PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false"}


def start(
    command: Sequence[str], *, stdin: int, stdout: int, stderr: int
) -> subprocess.Popen[bytes]:
    """Starts a process in a session of its own, so that neither Ctrl-C nor the end of the
    terminal reaches it. The streams are as of `subprocess.Popen`. Raises `OSError`."""
    return subprocess.Popen(
        command,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=environment(),
        start_new_session=True,
    )


def run(command: Sequence[str], data: bytes) -> subprocess.CompletedProcess[bytes]:
    """Runs a process with `data` on its standard input until it ends, and keeps what it printed.
    Raises `OSError`."""
    return subprocess.run(command, input=data, capture_output=True, env=environment(), check=False)
