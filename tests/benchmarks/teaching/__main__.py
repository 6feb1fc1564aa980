"""`python -m tests.benchmarks.teaching`: what ten corrections teach, and what they cost.

Real path, real time: feedback store, trigger, engine process, gate and swap, on the built-in
base or, with `--base smollm2`, on SmolLM2-135M-Instruct (see `tests.real.prepare`). Prints a
Markdown table; `--json` prints one JSON line a result instead.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from tests.benchmarks.teaching.measure import (
    Base,
    Link,
    Result,
    builtin,
    chain,
    load_sets,
    real,
    teach,
)
from tests.real.prepare import PrepareError, prepare
from tui_trainer.chat.client import ChatClient
from tui_trainer.contracts.teaching.training import TeachingSettings
from tui_trainer.teaching.retention.retained_questions import own_questions

OURS = TeachingSettings()
SETTINGS = {
    "ours": OURS,
    "ours, answers replayed": msgspec.structs.replace(OURS, retain_weight=0.0, null_space=0.0),
    "ours without the null space": msgspec.structs.replace(OURS, null_space=0.0),
    "ours without replay": msgspec.structs.replace(
        OURS, replay=0, retain_weight=0.0, null_space=0.0
    ),
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
        retain_weight=0.0,
        null_space=0.0,
        stop_when_learned=0,
        rewordings=0,
    ),
}


# The built-in base retains no answers of its own, so that there its answers are always replayed.
BUILTIN_SETTINGS = ["ours", "ours without replay", "closest tool"]


def main() -> None:
    """Teaches every set with every setting."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.teaching")
    parser.add_argument("--base", choices=["builtin", "smollm2"], default="builtin")
    parser.add_argument("--sets", type=int, metavar="N", help="only the first N sets")
    parser.add_argument("--group", choices=["test", "dev"], default="test")
    parser.add_argument("--chain", action="store_true", help="teach the sets one after the other")
    parser.add_argument("--settings", choices=list(SETTINGS), action="append")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="change a teaching setting, for a trial")  # fmt: skip
    parser.add_argument("--answers", type=Path, metavar="DIR",
                        help="keep the base's retained answers here")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="a JSON line a result")
    parser.add_argument("--misses", action="store_true", help="also print the wrong answers")
    options = parser.parse_args()
    names = options.settings or (BUILTIN_SETTINGS if options.base == "builtin" else list(SETTINGS))
    results = []
    with (
        tempfile.TemporaryDirectory(prefix="teaching-answers-") as temporary,
        ChatClient(_model(options.base)) as client,
    ):
        base = _base(client, options.base, options.answers or Path(temporary))
        if options.chain:
            settings = _changed(OURS, options.set)
            _show_chain(chain(base, load_sets(options.group)[: options.sets or 5], settings))
            return
        for name in names:
            for chosen in load_sets(options.group)[: options.sets]:
                settings = _changed(SETTINGS[name], options.set)
                result = teach(base, chosen, name, settings)
                results.append(result)
                show(result, as_json=options.json, misses=options.misses)
    if not options.json:
        print(table(results))


def _show_chain(links: Iterable[Link]) -> None:
    """Prints each training of a chain as it comes, as a Markdown table."""
    print("| training | state | steps | recalled | of the first | of all | facts kept | divergence "
          "| time |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|")
    for number, link in enumerate(links, start=1):
        change = "–" if link.divergence is None else f"{link.divergence:.3f}"
        shares = (link.recalled, link.first, link.all, link.held_out)
        cells = [f"{number}: {link.name}", link.state, str(link.steps)]
        cells += [f"{value:.1%}" for value in shares]
        print(f"| {' | '.join([*cells, change, f'{link.seconds:.0f} s'])} |", flush=True)


def _base(client: ChatClient, name: str, answers: Path) -> Base:
    client.start()
    if name == "builtin":
        return builtin(client)
    base, seconds = real(client, answers)
    count = len(own_questions())
    text = f"{count} answers to retain, asked once per base: {seconds:.0f} s"
    print(text, file=sys.stderr, flush=True)
    return base


def _model(base: str) -> str:
    """The base as a job names it. Ends the program where it cannot be had."""
    if base == "builtin":
        return base
    try:
        return str(prepare(base))
    except PrepareError as error:
        raise SystemExit(str(error)) from None


def _changed(settings: TeachingSettings, changes: Sequence[str]) -> TeachingSettings:
    pairs = [change.split("=", 1) for change in changes]
    values = {key: msgspec.json.decode(value) for key, value in pairs}
    return msgspec.convert(msgspec.to_builtins(settings) | values, TeachingSettings)


def show(result: Result, *, as_json: bool, misses: bool) -> None:
    """Prints a result: its line, and what went wrong."""
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
        "| ten corrections | settings | steps | recalled exactly | kept | never replayed "
        "| divergence | reworded right | of these by the model | trigger to answer | gate |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
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
    shares = {
        name: f"{mean(name):.1%}"
        for name in ("recalled", "kept", "held_out", "reworded", "unaided")
    }
    if results[0].held_out_count:
        shares["held_out"] += f" of {mean('held_out_count'):.0f}"
    known = [result.divergence for result in results if result.divergence is not None]
    change = f"{sum(known) / len(known):.3f}" if known else "–"
    cells = [title, settings, f"{mean('steps'):.0f}", shares["recalled"], shares["kept"]]
    cells += [shares["held_out"], change, shares["reworded"], shares["unaided"]]
    cells += [f"{mean('seconds'):.1f} s", gate]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
