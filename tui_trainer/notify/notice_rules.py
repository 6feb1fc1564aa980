"""What is worth telling: from what is seen of runs to notices, each once."""

from __future__ import annotations

import math
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from tui_trainer.contracts.advice import Advice
from tui_trainer.contracts.notice import Notice, NoticeKind, Occasion
from tui_trainer.text import formats

# A run whose process is gone may yet be given its last word by whoever stood by it.
CERTAIN_SECONDS = 1.0
_OCCASION: dict[NoticeKind, Occasion] = {
    "critical": "critical",
    "crash": "crash",
    "failure": "crash",
    "hang": "hang",
    "finish": "finish",
}
_ENDS: dict[str, NoticeKind] = {
    "completed": "finish",
    "early_stopped": "finish",
    "failed": "failure",
    "crashed": "crash",
}


class SeenRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run at one moment. `updated_at` is its state's own time (seconds since the epoch),
    `stalled` what is said of a step under way that takes too long, `critical` the critical
    advice that the run was given; `resume` how it is carried on. Of a `foreign` tool's run the
    first look tells no status; its end is news only where its files changed lately."""

    path: Path
    run: str
    name: str
    status: str
    step: int | None = None
    total_steps: int | None = None
    loss: float | None = None
    best_val_loss: float | None = None
    message: str = ""
    updated_at: float | None = None
    stalled: Advice | None = None
    critical: tuple[Advice, ...] = ()
    resume: str = ""
    foreign: bool = False


@dataclass
class _Known:
    """What was seen of a run before; `gone_since` is when its process was first missed."""

    status: str
    told: set[str] = field(default_factory=set)
    gone_since: float | None = None


class NoticeRules:
    """Turns what is seen into notices. What had happened to a run before it was first seen is
    not told, but for a hang that lasts; a run that ended since `began` counts as seen before."""

    def __init__(self, on: Iterable[Occasion], began: float) -> None:
        self._on = frozenset(on)
        self._began = began
        self._known: dict[Path, _Known] = {}

    @property
    def waits(self) -> bool:
        """Whether a crash is not certain yet, so that `take` should be called again soon."""
        return any(known.gone_since is not None for known in self._known.values())

    def take(self, runs: Iterable[SeenRun], now: float) -> list[Notice]:
        """The notices on what is new; `now` in seconds since the epoch."""
        found: list[Notice] = []
        for seen in runs:
            known = self._known.get(seen.path)
            if known is None:
                known = self._known[seen.path] = self._first(seen)
            found += self._of(known, seen, now)
        return [notice for notice in found if _OCCASION.get(notice.kind) in self._on]

    def judged(self, seen: SeenRun, advice: Iterable[Advice], now: float) -> list[Notice]:
        """Notices on critical advice that was found by the viewer; the first judgement of a run
        tells what was there before."""
        known = self._known.setdefault(seen.path, self._first(seen))
        critical = [one for one in advice if one.urgency == "critical" and one.kind != "stalled"]
        if "judged" not in known.told:
            known.told |= {"judged", *(_advice_key(one) for one in critical)}
        return _critical(known, seen, critical, now) if "critical" in self._on else []

    def has_judged(self, path: Path) -> bool:
        """Whether `judged` knows what there was before on a run."""
        known = self._known.get(path)
        return known is not None and "judged" in known.told

    def _first(self, seen: SeenRun) -> _Known:
        fresh = seen.status in _ENDS and self._is_fresh(seen)
        told = set() if fresh else {_advice_key(one) for one in seen.critical}
        kind = _ENDS.get(seen.status)
        if kind is not None and not fresh:
            told.add(_key(kind, seen))  # a resume that is refused puts this very end back
        return _Known("training" if fresh else seen.status, told)

    def _is_fresh(self, seen: SeenRun) -> bool:
        return (seen.updated_at or 0.0) >= self._began

    def _of(self, known: _Known, seen: SeenRun, now: float) -> list[Notice]:
        found = _critical(known, seen, seen.critical, now)
        if seen.stalled is not None:
            key = _key("hang", seen)
            if key not in known.told:
                known.told.add(key)
                words = f"{seen.name} hangs? {seen.stalled.reason}"
                found.append(_notice("hang", key, seen, words, now, seen.stalled))
        if seen.status != known.status:
            if seen.status == "crashed" and not self._is_certain(known, now):
                return found
            known.gone_since = None
            kind = _ENDS.get(seen.status)
            key = "" if kind is None else _key(kind, seen)
            is_news = key not in known.told and (not seen.foreign or self._is_fresh(seen))
            if kind is not None and is_news:
                known.told.add(key)
                found.append(_notice(kind, key, seen, _end(seen), now))
            known.status = seen.status
        else:
            known.gone_since = None
        return found

    def _is_certain(self, known: _Known, now: float) -> bool:
        if known.gone_since is None or now < known.gone_since:
            known.gone_since = now
        return now - known.gone_since >= CERTAIN_SECONDS


def ended(seen: SeenRun, on: Iterable[Occasion], now: float) -> list[Notice]:
    """The notice on an end that is certain."""
    kind = _ENDS.get(seen.status)
    if kind is None or _OCCASION[kind] not in on:
        return []
    return [_notice(kind, _key(kind, seen), seen, _end(seen), now)]


def trial(now: float) -> Notice:
    """A notice to try the ways with."""
    host = socket.gethostname()
    text = f"This is a test from {host}: notices of tui-trainer arrive here."
    return Notice(kind="test", key=f"test-{now}", time=now, title="test", text=text, host=host)


def resume_hint(run: str) -> str:
    """What to do about a run that crashed; `run` is its id."""
    return f"resume it with: tui-trainer resume {run}"


def _critical(known: _Known, seen: SeenRun, said: Iterable[Advice], now: float) -> list[Notice]:
    found = []
    for advice in said:
        key = _advice_key(advice)
        if key not in known.told:
            known.told.add(key)
            words = f"{seen.name}: {advice.kind.replace('_', ' ')} at step {advice.step:,}. "
            found.append(_notice("critical", key, seen, words + advice.reason, now, advice))
    return found


def _notice(
    kind: NoticeKind, key: str, seen: SeenRun, words: str, now: float, advice: Advice | None = None
) -> Notice:
    titles = {"critical": "is in trouble", "crash": "crashed", "failure": "failed"}
    titles |= {"hang": "hangs?", "finish": "finished"}
    return Notice(
        kind=kind,
        key=key,
        time=now,
        title=formats.one_line(f"{seen.name} {titles[kind]}", 80),
        text=formats.one_line(words),
        run=seen.run,
        name=seen.name,
        path=str(seen.path),
        host=socket.gethostname(),
        status=seen.status,
        step=seen.step,
        total_steps=seen.total_steps,
        loss=_finite(seen.loss),
        best_val_loss=_finite(seen.best_val_loss),
        advice=advice,
    )


def _end(seen: SeenRun) -> str:
    step = f" at step {seen.step:,}" if seen.step else ""
    if seen.status == "crashed":
        message = seen.message or f"the training process is gone{step} (killed, or out of memory?)"
        words = f"{seen.name} crashed: {message}"
        return f"{words}; {seen.resume}" if seen.resume else words
    word = seen.status.replace("early_stopped", "stopped early")
    words = f"{word}{step}: {seen.message}" if seen.message else word
    if seen.message.startswith(word):
        words = seen.message
    best = _finite(seen.best_val_loss)
    return f"{seen.name} {words}" + (f"; best val_loss {best:.4g}" if best is not None else "")


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _key(kind: str, seen: SeenRun) -> str:
    """The same for everybody who looks at the run's files."""
    return f"{kind}-{seen.step or 0}-{round(1000 * (seen.updated_at or 0))}"


def _advice_key(advice: Advice) -> str:
    return f"critical-{advice.id}-{advice.step}"
