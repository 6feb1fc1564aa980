"""What starting the command line really loads, seen in processes of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "transformers", "peft", "textual", "numpy", "tui_trainer.engine")
SCRIPT = """
import sys
from tui_trainer.cli.main import main
status = main(sys.argv[1:])
print("STATUS", status, "LOADED", *[name for name in {heavy!r} if name in sys.modules])
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["monitor", "--help"],
        ["train", "--help"],
        ["control", "--help"],
        ["doctor", "--help"],
        ["runs", "list"],
        ["control", "nobody", "pause"],
        ["train", "absent.toml"],
        ["estimate", "--help"],
        ["find-lr", "absent.toml"],
    ],
)
def test_nothing_heavy_is_loaded(arguments: list[str], tmp_path: Path) -> None:
    assert loaded(HEAVY, arguments, tmp_path) == []


def test_a_command_without_a_typing_error_does_not_load_difflib(tmp_path: Path) -> None:
    assert loaded(("difflib",), ["runs", "list"], tmp_path) == []


def loaded(names: tuple[str, ...], arguments: list[str], folder: Path) -> list[str]:
    """The modules of `names` that a command loads."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(heavy=names), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,  # without runs of anybody
        check=True,
    )
    last = done.stdout.splitlines()[-1].split()
    assert last[0] == "STATUS"
    assert last[2] == "LOADED"
    return last[3:]


def test_python_m_is_the_same_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tui_trainer", "monitor", "--no-such-option"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: No such option")
