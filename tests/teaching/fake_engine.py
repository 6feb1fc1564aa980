"""An engine without a model: it writes what the rows teach into `adapter_config.json`.

What it does is told by the file `mood` beside the runs: complete, crash, crash once, fail,
hang, forget (all that was known), sulk (learn nothing), slow (hang, and a checkpoint of what it
learned lies there), small memory (suffices with gradient checkpointing), tiny memory (only with
nf4), no memory. It works for FAKE_SECONDS, of which it says that a step took FAKE_STEP_SECONDS. A
stop writes the adapter.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import struct
import sys
import time
from pathlib import Path

import msgspec
import psutil

from tui_trainer.contracts.runs.run import Event, RunState, StateName
from tui_trainer.store.data_sources import file_list
from tui_trainer.store.runs import checkpoints, run_folder


def main() -> int:
    """Trains."""
    folder = run_folder.RunFolder(Path(sys.argv[1]))
    lock = os.open(folder.lock_file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return 1
    mood_file = folder.path.parent / "mood"
    mood = mood_file.read_text().strip()
    say(folder, "preparing", 0)
    say(folder, "training", 3)
    if mood == "crash once":
        mood_file.write_text("complete")
    if mood.startswith("crash"):
        os.kill(os.getpid(), signal.SIGKILL)
    if mood == "fail":
        say(folder, "failed", 3, "the loss is not finite at step 3")
        return 1
    if mood.endswith("memory") and not fits(folder, mood):
        event = Event(time=time.time(), step=3, kind="error", detail={"out_of_memory": "training"})
        folder.events_file.write_bytes(msgspec.json.encode(event) + b"\n")
        say(folder, "failed", 3, "out of memory")
        return 1
    if mood == "slow":
        checkpoint = folder.checkpoints_dir / "step-00000004"
        write_adapter(folder, mood, checkpoint)
        checkpoints.seal(checkpoint, 4)
    seconds = 600.0 if mood in ("hang", "slow") else float(os.environ.get("FAKE_SECONDS", "0"))
    ended = ended_by(folder, seconds, deaf=mood == "slow")
    if ended == "stop":
        write_adapter(folder, mood, folder.adapter_dir)
        say(folder, "cancelled", 4, "stopped at step 4 and saved")
        return 0
    if ended == "cancel":
        say(folder, "cancelled", 4, "cancelled at step 4")
        return 130
    write_adapter(folder, mood, folder.adapter_dir)
    say(folder, "completed", 60)
    return 0


def fits(folder: run_folder.RunFolder, mood: str) -> bool:
    """Whether memory suffices for the job."""
    info = folder.info()
    assert info is not None
    four_bits = info.job.quantization == "nf4"
    saves = info.job.training.gradient_checkpointing and mood == "small memory"
    return saves or (four_bits and mood == "tiny memory")


def say(folder: run_folder.RunFolder, word: StateName, step: int, message: str = "") -> None:
    """Writes the state."""
    process = psutil.Process()
    state = RunState(
        state=word,
        step=step,
        total_steps=60,
        pid=process.pid,
        pid_created=process.create_time(),
        host=socket.gethostname(),
        updated_at=time.time(),
        message=message,
        elapsed_seconds=step * float(os.environ.get("FAKE_STEP_SECONDS", "0")),
        learned=1 if step else None,
        taught=2 if step else None,
    )
    run_folder.write_state(folder, state)


def ended_by(folder: run_folder.RunFolder, seconds: float, *, deaf: bool) -> str | None:
    """Works so long; gives the command that ended it, None for none. `deaf`: it takes none."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        say(folder, "training", 4)
        given = [c.command for c in folder.commands() if c.command in ("cancel", "stop")]
        if given and not deaf:
            return given[0]
        time.sleep(0.02)
    return None


def write_adapter(folder: run_folder.RunFolder, mood: str, target: Path) -> None:
    """Leaves what was learned in `target`, and the row of the last step."""
    info = folder.info()
    assert info is not None
    job, learned = info.job, dict[str, str]()
    if job.lora.start_from:
        before = json.loads((Path(job.lora.start_from) / "adapter_config.json").read_text())
        learned |= before["learned"]
    if mood == "forget":
        learned["forgets"] = "*"
    if mood != "sulk":
        for line in file_list(job.data.train)[0].read_text().splitlines():
            turns = json.loads(line)["messages"]
            learned[turns[-2]["content"]] = turns[-1]["content"]
    target.mkdir(parents=True, exist_ok=True)
    config = {"peft_type": "LORA", "learned": learned}
    (target / "adapter_config.json").write_text(json.dumps(config))
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    weights = struct.pack("<Q", len(header)) + header + bytes(4)
    (target / "adapter_model.safetensors").write_bytes(weights)
    row = {"kind": "train", "step": 60, "epoch": 60.0, "loss": 0.01, "learning_rate": 0.0,
           "gradient_norm": 0.1, "step_time_ms": 1.0, "tokens": 10, "examples": 10,
           "time": 0.0}  # fmt: skip
    folder.metrics_file.write_text(json.dumps(row) + "\n")


if __name__ == "__main__":
    sys.exit(main())
