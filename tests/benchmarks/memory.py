"""`python -m tests.benchmarks.memory [--shape smollm2|1b]`: memory of chat and teaching together.

Prints the peak of the summed PSS of the chat process and of the engine process while a teaching
training runs beside the chat, as a Markdown table. PSS, from /proc/PID/smaps_rollup, counts pages
that processes share once. `1b` is a random Llama of that shape, whose weights are written in bf16
to a temporary folder: 2.3 GiB, and about 12 GiB of memory.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.benchmarks import beside_chat
from tests.real.prepare import PrepareError, prepare
from tui_trainer.chat.client import ChatClient
from tui_trainer.contracts.teaching.feedback import Turn
from tui_trainer.text import formats

SHAPES = ("smollm2", "1b")
LEAST_FREE = {"smollm2": 4 << 30, "1b": 16 << 30}  # bytes, below which it is skipped
# That of Llama 3.2 1B; the tokenizer is SmolLM2's, which uses a part of the vocabulary.
ONE_B: dict[str, Any] = {
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "vocab_size": 128_256,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
}
_SAMPLE_SECONDS = 0.2


@dataclass
class Peak:
    """The largest sum of PSS so far, and what it consisted of, in bytes."""

    chat: int = 0
    engine: int = 0

    def note(self, chat: int, engine: int) -> None:
        """Notes a sample."""
        if chat + engine > self.chat + self.engine:
            self.chat, self.engine = chat, engine


def main() -> int:
    """Measures one shape; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.memory", description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="smollm2")
    parser.add_argument("--steps", type=int, default=6, help="of the training")
    options = parser.parse_args()
    if not Path("/proc/self/smaps_rollup").exists():
        print("not measured: this system has no /proc/PID/smaps_rollup")
        return 0
    free, least = psutil.virtual_memory().available, LEAST_FREE[options.shape]
    if free < least:
        print(
            f"{options.shape} is not measured: {formats.size(free)} of memory are free, and it "
            f"needs {formats.size(least)}"
        )
        return 0
    with tempfile.TemporaryDirectory(prefix="memory-") as temporary:
        try:
            model = prepare("smollm2")
        except PrepareError as error:
            print(error, file=sys.stderr)
            return 1
        if options.shape == "1b":
            model = random_llama(Path(temporary) / "model", model)
        measure(options.shape, model, Path(temporary), options.steps)
    return 0


def measure(shape: str, model: Path, temporary: Path, steps: int) -> None:
    """Prints the table of one base."""
    with ChatClient(str(model)) as client:
        ready = client.start()
        turns = [Turn("user", "Write a short story about a fox who finds a lamp.")]
        client.answer(turns, max_new_tokens=64)
        chat = psutil.Process(client.pid)
        alone = pss(chat)
        with beside_chat.training(ready, temporary / "training") as started:
            peak, ended = Peak(), threading.Event()
            sampler = threading.Thread(target=_sample, args=(peak, ended, chat, started.process))
            sampler.start()
            try:
                started.wait_for(1)
                client.answer(turns, max_new_tokens=64)
                started.wait_for(steps)
            finally:
                ended.set()
                sampler.join()
            info = started.run.info()
            precision = "" if info is None else info.job.training.precision
            done = started.step
    print("| base | parameters | chat | training | chat alone | chat | engine | together, peak |")
    print("|---|---:|---|---|---:|---:|---:|---:|")
    sizes = (alone, peak.chat, peak.engine, peak.chat + peak.engine)
    cells = [shape, formats.number(float(ready.parameters), 3), ready.dtype]
    cells += [f"{precision}, {formats.plural(done, 'step')}", *(formats.size(n) for n in sizes)]
    print(f"| {' | '.join(cells)} |")


def pss(process: psutil.Process) -> int:
    """The PSS of a process and of those that it started, in bytes; 0 where it has ended."""
    total = 0
    try:
        for each in (process, *process.children(recursive=True)):
            for line in Path(f"/proc/{each.pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) << 10
    except (OSError, psutil.NoSuchProcess):
        return total
    return total


def _sample(
    peak: Peak, ended: threading.Event, chat: psutil.Process, engine: psutil.Process
) -> None:
    while not ended.wait(_SAMPLE_SECONDS):
        peak.note(pss(chat), pss(engine))


def random_llama(folder: Path, tokenizer: Path) -> Path:
    """Writes a random Llama of 1 B parameters in bf16, with the tokenizer of another model."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    began = time.monotonic()
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    try:
        model = LlamaForCausalLM(LlamaConfig(**ONE_B))
    finally:
        torch.set_default_dtype(torch.float32)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)
    seconds = formats.duration(time.monotonic() - began)
    print(f"random weights in bf16, written in {seconds}", file=sys.stderr)
    return folder


if __name__ == "__main__":
    sys.exit(main())
