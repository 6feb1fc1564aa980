"""Small inputs on which earlier versions failed: a folder each, whose `check.sh` says whether the
product is right on them. A folder that is added here is run."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import tui_trainer
from tests import bash

HERE = Path(__file__).parent
SECONDS = 800
NOT_RUN = 3  # the exit status of a check that lacks what it needs
SCRIPT = """#!/bin/sh
exec "{python}" -c 'import sys
from tui_trainer.cli.main import main
sys.argv[0] = "tui-trainer"
sys.exit(main())' "$@"
"""


def cases() -> Sequence[object]:
    """Every folder with a check. They are slow: each starts processes that load transformers."""
    return [
        pytest.param(check.parent, id=check.parent.name, marks=pytest.mark.slow)
        for check in sorted(HERE.glob("*/check.sh"))
    ]


def command(folder: Path) -> Path:
    """The `tui-trainer` command of this Python."""
    beside = Path(sys.executable).parent / "tui-trainer"
    if beside.is_file():
        return beside
    script = folder / "tui-trainer"
    script.write_text(SCRIPT.format(python=sys.executable))
    script.chmod(0o700)
    return script


def right(folder: Path) -> str:
    """What the case's README says is right."""
    lines = (folder / "README.md").read_text(encoding="utf-8").splitlines()
    return next((line for line in lines if line.startswith("Right:")), "Right: see README.md")


@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("case", cases())
def test_case(case: Path, tmp_path: Path) -> None:
    folder = tmp_path / case.name
    shutil.copytree(case, folder)
    root = str(Path(tui_trainer.__file__).parents[1])  # the code under test, wherever it is
    environment = os.environ | {
        "TT": str(command(tmp_path)),
        "PY": sys.executable,
        "TUI_TRAINER_HOME": str(tmp_path / "home"),
        "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))),
    }
    ran = bash.run(["check.sh"], folder, environment, SECONDS)
    if ran.returncode == NOT_RUN:
        pytest.skip(f"check.sh could not decide: {ran.stdout.strip() or 'no output'}")
    output = f"check.sh ended with {ran.returncode}:\n{ran.stdout}"
    assert ran.returncode == 0, f"{right(case)}\n{output}"
