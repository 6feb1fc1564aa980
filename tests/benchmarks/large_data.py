"""`python -m tests.benchmarks.large_data [--gigabytes 5] [--limit 2]`: data larger than memory.

Writes JSON lines of questions and answers, and trains the built-in base on them for a few steps as
a user would, without its screen, with two processes that tokenise. Every process is held to a limit
of private memory (RLIMIT_DATA, beyond which it fails). Prints the seconds until the first step and
the largest resident memory of a process, then the same for a second run, whose tokens come from the
cache. Needs four times the size of the data on the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from tui_trainer.models.base_model import load_tokenizer
from tui_trainer.store.runs.run_folder import RunFolder

_WORDS_OF_PHRASE, _PHRASES, _PHRASES_OF_ANSWER = 25, 20_000, 10
_STEPS = 20
_POLL_SECONDS = 0.2
JOB = """
model = "builtin"
[data]
train = {train}
val_split = 0.00001
max_length = 320
workers = 2
[training]
max_steps = {steps}
eval_every = 10
"""


def main() -> int:
    """Measures; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.large_data", description=__doc__
    )
    parser.add_argument("--gigabytes", type=float, default=5.0, help="of the data (10^9 bytes)")
    parser.add_argument("--limit", type=float, default=2.0, help="GiB of private memory a process")
    parser.add_argument("--folder", type=Path, help="where the files are written and deleted")
    options = parser.parse_args()
    limit = int(options.limit * (1 << 30))
    with tempfile.TemporaryDirectory(prefix="large-data-", dir=options.folder) as folder:
        file = Path(folder) / "large.jsonl"
        rows = write_rows(file, int(options.gigabytes * 1e9))
        size = file.stat().st_size / 1e9
        print(f"{size:.2f} GB, {rows:,} rows; at most {options.limit:g} GiB a process\n")
        print("| run | until step 1 | peak resident | tokens | exit status |")
        print("|---|---:|---:|---:|---:|")
        for name in ("first", "from the cache"):
            print(measure(file, Path(folder) / "home", name, limit), flush=True)
    return 0


def write_rows(file: Path, size: int) -> int:
    """Write rows of words that the built-in base knows until the file has `size` bytes, and return
    their number."""
    known = load_tokenizer("builtin").get_vocab()
    words = sorted(word[1:] for word in known if word[0] == "\u0120" and word[4:].isalpha())
    chance = np.random.default_rng(1)
    phrases = [
        " ".join(words[at] for at in chance.integers(0, len(words), _WORDS_OF_PHRASE).tolist())
        for _ in range(_PHRASES)
    ]
    rows = 0
    with file.open("w") as lines:
        while lines.tell() < size:
            for drawn in chance.integers(0, _PHRASES, (1000, _PHRASES_OF_ANSWER)).tolist():
                answer = " ".join(phrases[at] for at in drawn)
                lines.write(json.dumps({"question": f"Row {rows}?", "answer": answer}) + "\n")
                rows += 1
    return rows


def measure(file: Path, home: Path, name: str, limit: int) -> str:
    """Train on the file, and return a row of the table."""
    runs = home / "runs"
    job = file.with_suffix(".toml")
    job.write_text(JOB.format(train=json.dumps(str(file)), steps=_STEPS))
    command = [
        *(sys.executable, "-m", "tui_trainer"),
        *("train", str(job), "--headless", "--runs-dir", str(runs)),
    ]
    started = time.time()
    process = subprocess.Popen(
        command,
        env={**os.environ, "TUI_TRAINER_HOME": str(home)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)),  # noqa: PLW1509  (no threads yet)
        stdout=subprocess.DEVNULL,
    )
    peak = 0
    while process.poll() is None:
        peak = max(peak, _peak(process.pid))
        time.sleep(_POLL_SECONDS)
    folder = max((RunFolder(path) for path in runs.iterdir()), key=lambda run: run.path.name)
    first = json.loads(folder.metrics_file.read_text().splitlines()[0])["time"] - started
    data = folder.data()
    tokens = data.train.tokens if data is not None else 0
    return (
        f"| {name} | {first:,.0f} s | {peak / (1 << 20):,.0f} MiB | {tokens:,} "
        f"| {process.returncode} |"
    )


def _peak(pid: int) -> int:
    """The largest resident memory so far, in bytes, of any process below this one."""
    most = 0
    try:
        for child in psutil.Process(pid).children(recursive=True):
            status = Path(f"/proc/{child.pid}/status").read_text()
            peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
            most = max(most, int(peak.split()[1]) * 1024)
    except (psutil.Error, OSError, StopIteration):
        pass
    return most


if __name__ == "__main__":
    sys.exit(main())
