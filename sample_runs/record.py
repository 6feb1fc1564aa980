"""Records the sample runs anew: `python sample_runs/record.py` (about ten minutes on two cores).

Every run is a real one of the engine on the built-in base and the example data. Weights are left
out to keep the folder small, and paths and host name are replaced by neutral ones.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from tui_trainer.contracts.job import Job
from tui_trainer.store import jobs, paths
from tui_trainer.store.runs import run_control, run_folder
from tui_trainer.store.runs.run_folder import RunFolder

HERE = Path(__file__).resolve().parent
KEPT = ("run.json", "state.json", "metrics.jsonl", "events.jsonl", "control.jsonl")
KEPT_TOO = ("hardware.jsonl", "engine.log")
HOST = "lighthouse"


def main() -> None:
    """Records all five, each into a folder named after what it shows."""
    recorders: dict[str, Callable[[Path], RunFolder]] = {
        "finished": finished,
        "running": running,
        "diverged": diverged,
        "plateau": plateau,
        "interrupted": interrupted,
    }
    chosen = sys.argv[1:] or list(recorders)
    with tempfile.TemporaryDirectory() as temporary:
        for name in chosen:
            print(f"recording {name} ...", flush=True)
            keep(recorders[name](Path(temporary)), name, Path(temporary))


def finished(folder: Path) -> RunFolder:
    """The example job to its end, with a pause and a checkpoint asked for."""
    run, engine = start(folder, "lighthouse")
    wait_for_step(run, 60)
    ask(run, "pause")
    time.sleep(3)
    ask(run, "resume")
    wait_for_step(run, 110)
    ask(run, "checkpoint")
    engine.wait()
    return run


def running(folder: Path) -> RunFolder:
    """A longer one, copied while it trains."""
    run, engine = start(folder, "lighthouse-long", "training.max_steps=600")
    wait_for_step(run, 215)
    copy = RunFolder(folder / "copies" / run.path.name)
    shutil.copytree(run.path, copy.path)
    ask(run, "cancel")
    engine.wait()
    return copy


def diverged(folder: Path) -> RunFolder:
    """A rate set far too high while it trains: it ends in values that are not finite."""
    run, engine = start(folder, "lighthouse-hot", "training.max_gradient_norm=1e9")
    wait_for_step(run, 90)
    run_control.wait(run, run_control.send(run, "set-lr", {"learning_rate": 0.2}), 60)
    wait_for_step(run, 120)
    run_control.wait(run, run_control.send(run, "set-lr", {"learning_rate": 1e12}), 60)
    engine.wait()
    return run


def plateau(folder: Path) -> RunFolder:
    """Too small an adapter in one kind of layer: the loss soon stops falling."""
    overrides = ["lora.rank=1", 'lora.target_modules=["q_proj"]', "training.max_steps=360"]
    overrides += ['training.scheduler="constant"', "training.learning_rate=3e-3"]
    run, engine = start(folder, "lighthouse-plateau", *overrides)
    engine.wait()
    return run


def interrupted(folder: Path) -> RunFolder:
    """Killed in the middle of a line."""
    run, engine = start(folder, "lighthouse-cut")
    wait_for_step(run, 132)
    engine.kill()
    engine.wait()
    data = run.metrics_file.read_bytes()
    run.metrics_file.write_bytes(data[: data.rstrip().rfind(b"\n") + 90])
    return run


def start(folder: Path, name: str, *overrides: str) -> tuple[RunFolder, subprocess.Popen[bytes]]:
    """A run of the example job with overrides, training."""
    job: Job = jobs.load_job(paths.examples() / "lighthouse.toml", overrides)
    run = run_folder.create_run(folder / "runs", job, name)
    with run.log_file.open("wb") as log:
        engine = subprocess.Popen(
            [sys.executable, "-m", "tui_trainer.engine", str(run.path)], stdout=log, stderr=log
        )
    return run, engine


def wait_for_step(run: RunFolder, step: int) -> None:
    """Returns when the run has done `step` steps."""
    while (state := run.state()) is None or state.step < step:
        time.sleep(0.05)


def ask(run: RunFolder, command: str) -> None:
    """Sends a command and waits for its acknowledgement."""
    run_control.wait(run, run_control.send(run, command), 60)  # type: ignore[arg-type]


def keep(run: RunFolder, name: str, temporary: Path) -> None:
    """Copies the records, with neutral paths, over the former recording."""
    target = HERE / name
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    package = paths.examples().parent
    replacements = {
        str(run.path.resolve()): f"/home/keeper/runs/{run.path.name}",
        str(temporary.resolve()): "/home/keeper",
        str(package): "/home/keeper/tui_trainer",
        msgspec.json.encode(socket.gethostname()).decode(): f'"{HOST}"',
    }
    for file in (*KEPT, *KEPT_TOO):
        if (run.path / file).exists():
            text = (run.path / file).read_text(encoding="utf-8")
            for old, new in replacements.items():
                text = text.replace(old, new)
            (target / file).write_text(text, encoding="utf-8")
    if name == "interrupted":  # of no host: whoever looks asks for the process, and it is gone
        state_file = target / "state.json"
        state_file.write_text(state_file.read_text().replace(f'"{HOST}"', "null"))


if __name__ == "__main__":
    main()
