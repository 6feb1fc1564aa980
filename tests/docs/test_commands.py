"""Every command of README.md and the guides works as written, in the order of its page."""

from __future__ import annotations

import fnmatch
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests import bash
from tests.benchmarks.monitor.terminal import Terminal
from tests.docs.pages import GUIDES, README, REPOSITORY, Block, Page
from tests.tables.reference import files

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("train_extra")]
PATIENCE = 900.0
_PROGRAMS = {
    "python": "",
    "tui-trainer": "-m tui_trainer",
    "torchrun": "-m torch.distributed.run",
}


@pytest.mark.parametrize("page", [README, *GUIDES], ids=lambda page: page.name)
def test_every_command_works(page: Page, tmp_path: Path) -> None:
    folder = _clone(tmp_path / "clone")
    home = tmp_path / "home"
    environment = {
        **os.environ,
        "TUI_TRAINER_HOME": str(home),
        "PATH": f"{folder / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "OMP_NUM_THREADS": "1",
    }
    if page is README:  # what the set-up ends in; .ci/run does all of it, in full length
        example = ".venv/bin/tui-trainer train example"
        assert any(example in block.text for block in page.blocks("bash"))
        _run(f"{example} --set training.max_steps=40", folder, environment)
    for block in page.all_blocks():
        if block.language in ("toml", "python") and block.mark not in ("", "config.toml"):
            (folder / block.mark).write_text(block.text, encoding="utf-8")
        elif (block.language, block.mark) == ("bash", "screen"):
            _show(block, folder, environment)
        elif (block.language, block.mark) == ("bash", ""):
            _run(block.text, folder, environment)
    for run in (folder / "runs").glob("*-*-*"):
        _assert_explained(run, files.run_files())
    _assert_explained(home, files.HOME)


def _clone(folder: Path) -> Path:
    """What commands need of a clone after the set-up: the programs and the sample runs."""
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name, arguments in _PROGRAMS.items():
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        program.chmod(0o755)
    (programs / "activate").write_text(f'PATH="{programs}:$PATH"\n')
    shutil.copytree(REPOSITORY / "sample_runs", folder / "sample_runs")
    return folder


def _run(text: str, folder: Path, environment: Mapping[str, str]) -> None:
    found = bash.run(["-euo", "pipefail", "-c", text], folder, environment, PATIENCE)
    assert found.returncode == 0, f"{text}\n{found.stdout}"
    assert "Traceback" not in found.stdout, f"{text}\n{found.stdout}"


def _show(block: Block, folder: Path, environment: Mapping[str, str]) -> None:
    terminal = Terminal(["bash", "-c", block.text], environment, folder)
    try:
        terminal.wait(lambda text: "quit" in text, PATIENCE)
        terminal.press("q")
        assert terminal.status(60) == 0
    finally:
        terminal.close()


def _assert_explained(folder: Path, known: Mapping[str, str]) -> None:
    """Every file in the folder stands in the reference of files."""
    patterns = [f"{name}*" if name.endswith("/") else name for name in known]
    if (folder / "adapters").is_dir():  # an adapter has the files of a run's `adapter/`
        patterns += [
            f"adapters/*/{name.removeprefix('adapter/')}"
            for name in files.run_files()
            if name.startswith("adapter/") and name != "adapter/"
        ]
    exact = [one for one in patterns if not one.startswith(("checkpoints/*", "adapter/*"))]
    found = [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
    missing = [name for name in found if not any(fnmatch.fnmatchcase(name, one) for one in exact)]
    assert missing == [], "explain them in tests/tables/reference/files.py"
