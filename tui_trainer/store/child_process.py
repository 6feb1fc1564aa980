"""Starting child processes: command line, environment, streams."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

# Variables that a launcher such as torchrun sets for each process, not to be inherited.
_LAUNCHER_VARIABLES = (
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
    "TORCHELASTIC_RUN_ID",
)


def module_command(module: str, *arguments: str, safe_path: bool = True) -> list[str]:
    """The command line that runs a module with this interpreter.

    With `safe_path` (`-P`) modules in the current folder, such as a user's `datasets.py`, are not
    imported.
    """
    return [sys.executable, *(["-P"] if safe_path else []), "-m", module, *arguments]


def environment() -> dict[str, str]:
    """This process's environment for a child: output unbuffered, no tokenizer threads, and no
    variables of a launcher, which would make it join a process group."""
    own = {name: value for name, value in os.environ.items() if name not in _LAUNCHER_VARIABLES}
    return {**own, "PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false"}


def start(
    command: Sequence[str], *, stdin: int, stdout: int, stderr: int
) -> subprocess.Popen[bytes]:
    """Start a process in its own session, so that neither Ctrl-C nor the end of the terminal
    reaches it. The streams are those of `subprocess.Popen`. Raises `OSError`."""
    return subprocess.Popen(
        command,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=environment(),
        start_new_session=True,
    )


def run(command: Sequence[str], data: bytes) -> subprocess.CompletedProcess[bytes]:
    """Run a process with `data` on its standard input until it ends, and capture its output.
    Raises `OSError`."""
    return subprocess.run(command, input=data, capture_output=True, env=environment(), check=False)
