"""`python -m tests.benchmarks.answers --while-training`: tokens per second of the chat process
alone, beside a training in the background, and beside one with the priority of the chat."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

from tests.benchmarks import beside_chat
from tui_trainer.chat.client import ChatClient
from tui_trainer.contracts.teaching.feedback import Turn

_PACE_STEPS = 3  # of the training without answers


def main(model: Path, question: str, tokens: int, rounds: int) -> int:
    """Measures and prints a Markdown table."""
    with (
        ChatClient(str(model)) as client,
        tempfile.TemporaryDirectory(prefix="while-training-") as temporary,
    ):
        ready = client.start()
        print(f"{model.name}, {ready.threads} threads of the chat, median of {rounds} answers\n")
        print("| beside the answers | tokens/s | of alone | a step of the training |")
        print("|---|---:|---:|---:|")

        def rate() -> float:
            turns = [Turn("user", question)]
            answer = client.answer(turns, max_new_tokens=tokens)
            return answer.tokens / answer.seconds

        rate()  # the first answer allocates
        alone = median(rate() for _ in range(rounds))
        print(f"| nothing | {alone:.1f} | | |", flush=True)
        for label, background in (
            ("a training in the background", True),
            ("a training with the same priority", False),
        ):
            folder = Path(temporary) / f"{background}"
            with beside_chat.training(ready, folder, background=background) as started:
                print(_row(label, alone, rate, started, rounds), flush=True)
        again = median(rate() for _ in range(rounds))
        print(f"| nothing again | {again:.1f} | {again / alone:.0%} | |")
    return 0


def _row(
    label: str,
    alone: float,
    rate: Callable[[], float],
    started: beside_chat.Training,
    rounds: int,
) -> str:
    started.wait_for(1)
    beside = median(rate() for _ in range(rounds))
    answered = started.step
    started.wait_for(answered + _PACE_STEPS)
    state = started.run.state()
    seconds = 0.0 if state is None else state.elapsed_seconds / state.step
    return f"| {label} | {beside:.1f} | {beside / alone:.0%} | {seconds:.1f} s |"
