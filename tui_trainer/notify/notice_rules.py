"""Rules that turn observed runs into notices, each once."""

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

# Before a crash is reported: the process that supervises the run may still write its last state.
CRASH_CONFIRM_SECONDS = 1.0
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
    """One run, as observed at one moment."""

    path: Path  # of the run folder or file
    run: str  # id of the run
    name: str  # of the run
    status: str  # of the run
    step: int | None = None  # optimizer steps finished
    total_steps: int | None = None  # of the whole run
    loss: float | None = None  # newest training loss, nats
    best_val_loss: float | None = None  # lowest validation loss, nats
    message: str = ""  # of the run's state
    updated_at: float | None = None  # time of the run's state, seconds since the epoch
    stalled: Advice | None = None  # on a step in progress that takes too long
    critical: tuple[Advice, ...] = ()  # critical advice of the run's own advisor
    resume: str = ""  # how to resume it after a crash
    foreign: bool = False  # of another tool, whose end counts only if its files changed lately


@dataclass
class _Known:
    """What was observed of a run before."""

    status: str  # at the last observation
    sent: set[str] = field(default_factory=set)  # keys of its notices
    advice_checked: bool = False  # whether `check_advice` was called
    gone_since: float | None = None  # when its process was first missing


class NoticeRules:
    """Finds what is new on runs.

    Events from before a run was first observed give no notice, except a hang that lasts. A run
    that ended after `since` (seconds since the epoch) is treated as observed before its end.
    """

    def __init__(self, on: Iterable[Occasion], since: float) -> None:
        self._on = frozenset(on)
        self._since = since
        self._known: dict[Path, _Known] = {}

    @property
    def awaits_crash(self) -> bool:
        """Whether a crash is not confirmed yet, so that `check` should be called again soon."""
        return any(known.gone_since is not None for known in self._known.values())

    def check(self, runs: Iterable[SeenRun], now: float) -> list[Notice]:
        """Notices of what is new on the runs; `now` in seconds since the epoch."""
        found: list[Notice] = []
        for seen in runs:
            known = self._known.get(seen.path)
            if known is None:
                known = self._known[seen.path] = self._first(seen)
            found += self._of(known, seen, now)
        return [notice for notice in found if _OCCASION.get(notice.kind) in self._on]

    def check_advice(self, seen: SeenRun, advice: Iterable[Advice], now: float) -> list[Notice]:
        """Notices of new critical advice that the viewer computed. At the first check of a run,
        none of its advice is new."""
        known = self._known.setdefault(seen.path, self._first(seen))
        critical = [one for one in advice if one.urgency == "critical" and one.kind != "stalled"]
        if not known.advice_checked:
            known.advice_checked = True
            known.sent |= {_advice_key(one) for one in critical}
        return _critical(known, seen, critical, now) if "critical" in self._on else []

    def has_checked_advice(self, path: Path) -> bool:
        """Whether `check_advice` was called for a run."""
        known = self._known.get(path)
        return known is not None and known.advice_checked

    def _first(self, seen: SeenRun) -> _Known:
        recent = seen.status in _ENDS and self._is_recent(seen)
        sent = set() if recent else {_advice_key(one) for one in seen.critical}
        kind = _ENDS.get(seen.status)
        if kind is not None and not recent:
            sent.add(_key(kind, seen))  # a refused resume restores this same end
        return _Known("training" if recent else seen.status, sent)

    def _is_recent(self, seen: SeenRun) -> bool:
        return (seen.updated_at or 0.0) >= self._since

    def _of(self, known: _Known, seen: SeenRun, now: float) -> list[Notice]:
        found = _critical(known, seen, seen.critical, now)
        if seen.stalled is not None:
            key = _key("hang", seen)
            if key not in known.sent:
                known.sent.add(key)
                text = f"{seen.name} may hang: {seen.stalled.reason}"
                found.append(_notice("hang", key, seen, text, now, seen.stalled))
        if seen.status != known.status:
            if seen.status == "crashed" and not self._is_confirmed(known, now):
                return found
            known.gone_since = None
            kind = _ENDS.get(seen.status)
            key = "" if kind is None else _key(kind, seen)
            is_new = key not in known.sent and (not seen.foreign or self._is_recent(seen))
            if kind is not None and is_new:
                known.sent.add(key)
                found.append(_notice(kind, key, seen, _end_text(seen), now))
            known.status = seen.status
        else:
            known.gone_since = None
        return found

    def _is_confirmed(self, known: _Known, now: float) -> bool:
        if known.gone_since is None or now < known.gone_since:
            known.gone_since = now
        return now - known.gone_since >= CRASH_CONFIRM_SECONDS


def end_notices(seen: SeenRun, on: Iterable[Occasion], now: float) -> list[Notice]:
    """The notice of a run's end that is known for certain; empty if it is not in `on`."""
    kind = _ENDS.get(seen.status)
    if kind is None or _OCCASION[kind] not in on:
        return []
    return [_notice(kind, _key(kind, seen), seen, _end_text(seen), now)]


def make_test_notice(now: float) -> Notice:
    """A notice to test the channels with."""
    host = socket.gethostname()
    text = f"This is a test from {host}: notifications of tui-trainer arrive here."
    return Notice(kind="test", key=f"test-{now}", time=now, title="test", text=text, host=host)


def resume_hint(run: str) -> str:
    """What to do about a run that crashed; `run` is its id."""
    return f"resume it with: tui-trainer resume {run}"


def _critical(known: _Known, seen: SeenRun, found: Iterable[Advice], now: float) -> list[Notice]:
    notices = []
    for advice in found:
        key = _advice_key(advice)
        if key not in known.sent:
            known.sent.add(key)
            kind, step = advice.kind.replace("_", " "), formats.count(advice.step)
            text = f"{seen.name}: {kind} at step {step}. {advice.reason}"
            notices.append(_notice("critical", key, seen, text, now, advice))
    return notices


def _notice(
    kind: NoticeKind, key: str, seen: SeenRun, text: str, now: float, advice: Advice | None = None
) -> Notice:
    titles = {"critical": "has critical advice", "crash": "crashed", "failure": "failed"}
    titles |= {"hang": "may hang", "finish": "finished"}
    return Notice(
        kind=kind,
        key=key,
        time=now,
        title=formats.one_line(f"{seen.name} {titles[kind]}", 80),
        text=formats.one_line(text),
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


def _end_text(seen: SeenRun) -> str:
    step = f" at step {formats.count(seen.step)}" if seen.step else ""
    if seen.status == "crashed":
        message = seen.message or (
            f"the training process ended unexpectedly{step} (killed, or out of memory?)"
        )
        text = f"{seen.name} crashed: {message}"
        return f"{text}; {seen.resume}" if seen.resume else text
    status = seen.status.replace("early_stopped", "stopped early")
    text = f"{status}{step}: {seen.message}" if seen.message else status
    if seen.message.startswith(status):
        text = seen.message
    best = _finite(seen.best_val_loss)
    best_text = "" if best is None else f"; best val_loss {formats.number(best)}"
    return f"{seen.name} {text}{best_text}"


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _key(kind: str, seen: SeenRun) -> str:
    """Key of an event, the same in every process that reads the run's files."""
    return f"{kind}-{seen.step or 0}-{round(1000 * (seen.updated_at or 0))}"


def _advice_key(advice: Advice) -> str:
    return f"critical-{advice.id}-{advice.step}"
