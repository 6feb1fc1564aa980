"""An engine without a model: it writes what the rows teach into `adapter_config.json`.

What it does is told by the file `mood` beside the runs: complete, crash, crash once, fail,
hang, forget (all that was known), sulk (learn nothing). It works for FAKE_SECONDS.
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

import psutil

from tui_trainer.contracts.run import RunState, StateName
from tui_trainer.store import jobs
from tui_trainer.store.runs import run_folder


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
    if not worked(folder, 600.0 if mood == "hang" else float(os.environ.get("FAKE_SECONDS", "0"))):
        say(folder, "cancelled", 4, "cancelled at step 4")
        return 130
    write_adapter(folder, mood)
    say(folder, "completed", 60)
    return 0


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
    )
    run_folder.write_state(folder, state)


def worked(folder: run_folder.RunFolder, seconds: float) -> bool:
    """Works so long; gives whether nobody cancelled it."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        say(folder, "training", 4)
        if any(command.command == "cancel" for command in folder.commands()):
            return False
        time.sleep(0.02)
    return True


def write_adapter(folder: run_folder.RunFolder, mood: str) -> None:
    """Leaves what was learned, and the row of the last step."""
    info = folder.info()
    assert info is not None
    job, learned = info.job, dict[str, str]()
    if job.lora.start_from:
        before = json.loads((Path(job.lora.start_from) / "adapter_config.json").read_text())
        learned |= before["learned"]
    if mood == "forget":
        learned["forgets"] = "*"
    if mood != "sulk":
        for line in jobs.file_list(job.data.train)[0].read_text().splitlines():
            turns = json.loads(line)["messages"]
            learned[turns[-2]["content"]] = turns[-1]["content"]
    folder.adapter_dir.mkdir(exist_ok=True)
    config = {"peft_type": "LORA", "learned": learned}
    (folder.adapter_dir / "adapter_config.json").write_text(json.dumps(config))
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    weights = struct.pack("<Q", len(header)) + header + bytes(4)
    (folder.adapter_dir / "adapter_model.safetensors").write_bytes(weights)
    row = {"kind": "train", "step": 60, "epoch": 60.0, "loss": 0.01, "learning_rate": 0.0,
           "gradient_norm": 0.1, "step_time_ms": 1.0, "tokens": 10, "examples": 10,
           "time": 0.0}  # fmt: skip
    folder.metrics_file.write_text(json.dumps(row) + "\n")


if __name__ == "__main__":
    sys.exit(main())
