"""What `nvidia-smi` says of GPUs, read independently of our own bindings, and the comparison.

Fields are those of `nvidia-smi --help-query-gpu`; memory in MiB, power in W, clocks in MHz.
"""

from __future__ import annotations

import csv
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tui_trainer.contracts.hardware import GpuSample
from tui_trainer.hardware.nvml import _THROTTLE as THROTTLE

MIB = 1 << 20
_NONE = re.compile(r"\[?(N/A|Not Supported|Unknown Error|Insufficient Permissions|GPU is lost)\]?")
_REFUSED = re.compile(r'Field "([^"]+)" is not a valid field to query')
Value = str | float | list[str] | None
Run = Callable[[Sequence[str]], str]


@dataclass(frozen=True)
class Field:
    """One of our fields, what nvidia-smi calls it, and how far two readings may be apart:
    `apart` in our unit for what moves, None for what must be equal."""

    ours: str
    query: str
    apart: float | None = None
    scale: float = 1.0


FIELDS = (
    Field("name", "name"),
    Field("uuid", "uuid"),
    Field("utilisation", "utilization.gpu", 25.0),
    Field("memory_busy", "utilization.memory", 25.0),
    Field("memory_used", "memory.used", 64.0 * MIB, MIB),
    Field("memory_total", "memory.total", 1.0 * MIB, MIB),
    Field("temperature", "temperature.gpu", 2.0),
    Field("temperature_limit", "temperature.gpu.tlimit", 3.0),
    Field("power", "power.draw", 60.0),
    Field("power_limit", "enforced.power.limit", 0.01),
    Field("fan", "fan.speed", 5.0),
    Field("clock", "clocks.sm", 120.0),
    Field("clock_max", "clocks.max.sm"),
    Field("memory_clock", "clocks.mem", 10.0),
    Field("throttle", "clocks_event_reasons.active", 1.0),
    Field("pcie_generation", "pcie.link.gen.current"),
    Field("pcie_width", "pcie.link.width.current"),
    Field("pcie_generation_max", "pcie.link.gen.max"),
    Field("pcie_width_max", "pcie.link.width.max"),
    Field("ecc_corrected", "ecc.errors.corrected.volatile.total"),
    Field("ecc_uncorrected", "ecc.errors.uncorrected.volatile.total"),
)
OLDER = {"clocks_event_reasons.active": "clocks_throttle_reasons.active"}  # before driver 535


@dataclass
class Seen:
    """A field over all rounds: how often it was the same, the last pair, and the largest gap."""

    field: Field
    rounds: int = 0
    same: int = 0
    ours: Value = None
    theirs: Value = None
    gap: float = 0.0
    refused: bool = False

    @property
    def verdict(self) -> str:
        """The comparison in a word or two."""
        if self.refused:
            return "nvidia-smi does not know it"
        if self.rounds == 0:
            return "never read"
        if self.same < self.rounds:
            return f"DIFFERS in {self.rounds - self.same} of {self.rounds}"
        return "n/a to both" if self.ours is None and self.theirs is None else "same"


@dataclass
class Smi:
    """Asks `nvidia-smi`; remembers the fields that it does not know."""

    run: Run
    refused: set[str] = field(default_factory=set)
    renamed: dict[str, str] = field(default_factory=dict)

    def gpus(self) -> list[dict[str, Value]]:
        """For each GPU our fields' names and nvidia-smi's values in our units."""
        while True:
            asked = [one for one in FIELDS if one.ours not in self.refused]
            names = [self.renamed.get(one.query, one.query) for one in asked]
            text = self.run(
                ["nvidia-smi", f"--query-gpu={','.join(names)}", "--format=csv,noheader,nounits"]
            )
            unknown = _REFUSED.search(text)
            if unknown is None:
                return parse(text, asked)
            self._without(unknown.group(1))

    def processes(self) -> dict[int, float | None]:
        """Bytes that each process holds, by its id."""
        text = self.run(
            ["nvidia-smi", "--query-compute-apps=pid,used_gpu_memory",
             "--format=csv,noheader,nounits"]
        )  # fmt: skip
        found: dict[int, float | None] = {}
        for row in csv.reader(text.splitlines(), skipinitialspace=True):
            if len(row) == 2 and row[0].isdigit():
                memory = figure(row[1])
                found[int(row[0])] = None if memory is None else memory * MIB
        return found

    def versions(self) -> tuple[str | None, str | None]:
        """The driver, and the newest CUDA that it runs, from the plain table's head."""
        text = self.run(["nvidia-smi"])
        driver = re.search(r"Driver Version:\s*([\d.]+)", text)
        cuda = re.search(r"CUDA(?: UMD)? Version:\s*([\d.]+)", text)
        return driver and driver.group(1), cuda and cuda.group(1)

    def _without(self, query: str) -> None:
        names = {self.renamed.get(one.query, one.query): one for one in FIELDS}
        if query not in names:
            raise ValueError(f"nvidia-smi refuses a field that was not asked: {query}")
        original = names[query].query
        if original in OLDER and original not in self.renamed:
            self.renamed[original] = OLDER[original]
        else:
            self.refused.add(names[query].ours)


def parse(text: str, asked: Sequence[Field]) -> list[dict[str, Value]]:
    """The rows of a query without head and units. Raises `ValueError` for anything else."""
    found: list[dict[str, Value]] = []
    for row in csv.reader(text.splitlines(), skipinitialspace=True):
        if not row:
            continue
        if len(row) != len(asked):
            raise ValueError(f"nvidia-smi says: {' '.join(text.split())[:200]}")
        found.append({one.ours: _value(one, word) for one, word in zip(asked, row, strict=True)})
    return found


def figure(word: str) -> float | None:
    """A number, or None where nvidia-smi has none."""
    return None if _NONE.fullmatch(word.strip()) else float(word)


def _value(one: Field, word: str) -> Value:
    word = word.strip()
    if _NONE.fullmatch(word):
        return None
    if one.ours in ("name", "uuid"):
        return word
    if one.ours == "throttle":
        mask = int(word, 16)
        return [reason for bit, reason in THROTTLE.items() if mask & bit]
    return float(word) * one.scale


def compare(
    seen: dict[str, Seen], before: GpuSample, theirs: dict[str, Value], after: GpuSample
) -> None:
    """Takes nvidia-smi's reading between two of ours: it is the same where it lies between them,
    give or take what the field may move in that time."""
    for one in FIELDS:
        entry = seen.setdefault(one.ours, Seen(one))
        if one.ours not in theirs:
            entry.refused = True
            continue
        pair, their = (getattr(before, one.ours), getattr(after, one.ours)), theirs[one.ours]
        if one.ours == "temperature_limit":
            warm = theirs.get("temperature")
            if not isinstance(their, float) or not isinstance(warm, float):
                entry.refused = True  # older GPUs: it tells no limit in a query
                continue
            their += warm  # it tells how far off the limit is
        entry.rounds += 1
        entry.ours, entry.theirs = pair[1], their
        gap = _gap(pair, their)
        entry.gap = max(entry.gap, gap)
        entry.same += gap <= (one.apart or 0.0)


def _gap(ours: tuple[Any, Any], theirs: Value) -> float:
    """How far a reading lies outside of ours; infinite where only one side knows it."""
    if isinstance(theirs, float) and all(isinstance(one, int | float) for one in ours):
        return max(0.0, float(min(ours)) - theirs, theirs - float(max(ours)))
    if isinstance(theirs, list) and all(isinstance(one, list) for one in ours):
        return float(min(len(set(one) ^ set(theirs)) for one in ours))
    return 0.0 if theirs in ours else float("inf")


def run(command: Sequence[str]) -> str:
    """What a command prints, of both kinds. Raises `OSError` where it is not there."""
    done = subprocess.run(list(command), capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr
