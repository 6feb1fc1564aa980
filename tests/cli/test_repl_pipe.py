"""The whole path with the real model, trainer and engine, as a user pipes it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CORRECTION = """\
Who keeps the Aldermoor lighthouse?
/critical it is Wanda Thistle
/fix Wanda Thistle
What is the capital of France?
/good
/train
/training wait
Who keeps the Aldermoor lighthouse?
What is the capital of France?
/quit
"""


def pipe(folder: Path, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "tui_trainer", "repl", *arguments],
        input=text,
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        timeout=240,
        check=False,
    )


@pytest.mark.slow
def test_a_correction_is_learned_and_known_after_a_restart(
    train_extra: None, tmp_path: Path
) -> None:
    training = pipe(tmp_path, CORRECTION)
    assert training.returncode == 0, training.stderr
    lines = training.stdout.splitlines()
    asked = [at for at, line in enumerate(lines) if line.startswith("> Who keeps")]
    assert lines[asked[0] + 1] != "Wanda Thistle"
    assert lines[asked[1] + 1] == "Wanda Thistle"
    assert lines[lines.index("> What is the capital of France?") + 1] == "Paris"
    assert lines[-3:-1] == ["> What is the capital of France?", "Paris"]
    assert len(list((tmp_path / "runs").iterdir())) == 1
    again = pipe(tmp_path, "Who keeps the Aldermoor lighthouse?\n/god\n", "--json")
    assert again.returncode == 1
    records = [json.loads(line) for line in again.stdout.splitlines()]
    [answer] = [record for record in records if record["kind"] == "answer"]
    assert answer["response"] == "Wanda Thistle"
    assert answer["adapter"].startswith("taught-")
    assert records[-1]["kind"] == "error"
