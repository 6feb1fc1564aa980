"""`python -m tests.benchmarks.teaching`: what ten corrections teach, and what they cost.

Real path, real time: feedback store, trigger, engine process, gate and swap, on the built-in
base. Prints a Markdown table; `--json` prints one JSON line a result instead.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence

import msgspec

from tests.benchmarks.teaching.measure import Result, load_sets, teach
from tui_trainer.chat.client import ChatClient
from tui_trainer.contracts.teaching import TeachingSettings

OURS = TeachingSettings()
SETTINGS = {
    "ours": OURS,
    "ours without replay": msgspec.structs.replace(OURS, replay=0),
    # finch: r 16 on q_proj and v_proj, 1e-4, 3 epochs of 3 batches: 9 steps.
    "closest tool": msgspec.structs.replace(
        OURS,
        learning_rate=1e-4,
        epochs=3,
        batch_size=4,
        rank=16,
        alpha=32,
        target_modules=["q_proj", "v_proj"],
        replay=0,
        rewordings=0,
    ),
}


def main() -> None:
    """Teaches every set with every setting."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.teaching")
    parser.add_argument("--sets", type=int, help="only the first so many sets")
    parser.add_argument("--group", choices=["test", "dev"], default="test")
    parser.add_argument("--settings", choices=list(SETTINGS), action="append")
    parser.add_argument("--json", action="store_true", help="a JSON line a result")
    parser.add_argument("--misses", action="store_true", help="also print the wrong answers")
    options = parser.parse_args()
    results = []
    with ChatClient() as client:
        client.start()
        for name in options.settings or SETTINGS:
            for chosen in load_sets(options.group)[: options.sets]:
                result = teach(client, chosen, name, SETTINGS[name])
                results.append(result)
                tell(result, as_json=options.json, misses=options.misses)
    if not options.json:
        print(table(results))


def tell(result: Result, *, as_json: bool, misses: bool) -> None:
    """A result as it comes: its line, and what went wrong."""
    if as_json:
        print(msgspec.json.encode(dataclasses.asdict(result)).decode(), flush=True)
        return
    print(row(result.name, result.settings, [result]), file=sys.stderr, flush=True)
    for asked, wanted, got in result.misses if misses else ():
        print(f"    {asked!r}: wanted {wanted!r}, got {got!r}", file=sys.stderr)


def table(results: Sequence[Result]) -> str:
    """Every result and the mean of each setting, in Markdown."""
    load = os.getloadavg()[0]
    lines = [
        f"{os.cpu_count()} CPU cores, load average {load:.1f} at the end",
        "",
        "| ten corrections | settings | recalled exactly | golden kept | never replayed "
        "| reworded right | of these by the model | trigger to answer | gate |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(result.settings for result in results):
        own = [result for result in results if result.settings == name]
        lines += [row(result.name, name, [result]) for result in own]
        lines.append(row("**mean**", f"**{name}**", own))
    return "\n".join(lines)


def row(title: str, settings: str, results: Sequence[Result]) -> str:
    """The mean of some results as a line of the table."""

    def mean(field: str) -> float:
        return sum(float(getattr(result, field)) for result in results) / len(results)

    passed = sum(not result.refused for result in results)
    gate = f"passed by {passed} of {len(results)}"
    shares = [
        f"{mean(name):.1%}" for name in ("recalled", "kept", "held_out", "reworded", "unaided")
    ]
    cells = [title, settings, *shares, f"{mean('seconds'):.1f} s", gate]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
