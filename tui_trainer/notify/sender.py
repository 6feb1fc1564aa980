"""Sending notices by every way that is set, each in a thread of its own."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from tui_trainer.contracts.notice import Notice, NotifySettings
from tui_trainer.notify import terminal_channel
from tui_trainer.notify.rate_limit import RateLimiter, together
from tui_trainer.notify.subprocess_channel import CommandChannel, find_desktop
from tui_trainer.notify.webhook_channel import WebhookChannel

Claim = Callable[[Notice, str], bool]


class Channel(Protocol):
    """A way to send notices. `shared` names it where several viewers of a run would reach the
    same one by it, None where each has its own."""

    @property
    def name(self) -> str: ...
    @property
    def shared(self) -> str | None: ...
    def send(self, notice: Notice) -> str | None: ...


class Screen:
    """The terminal that one sits at."""

    name = "terminal"
    shared = None

    def __init__(
        self, write: Callable[[str], None], settings: NotifySettings, environment: Mapping[str, str]
    ) -> None:
        self._write = write
        self._settings = settings
        self._environment = environment

    def send(self, notice: Notice) -> str | None:
        """Writes bell and escape sequences; nothing can be known of what becomes of them."""
        text = terminal_channel.sequences(notice, self._settings, self._environment)
        if text:
            self._write(text)
        return None


def ways_of(
    settings: NotifySettings,
    environment: Mapping[str, str],
    write: Callable[[str], None] | None,
    stopping: threading.Event | None = None,
) -> list[Channel]:
    """Every way that is set and there; `write` writes to the terminal, where there is one."""
    found: list[Channel] = []
    if write is not None and (settings.bell or settings.osc != "off"):
        found.append(Screen(write, settings, environment))
    desktop = find_desktop(settings, environment)
    if desktop is not None:
        found.append(desktop)
    if settings.webhook is not None:
        found.append(WebhookChannel(settings, stopping))
    if settings.command is not None:
        found.append(CommandChannel(settings.command, settings.command_seconds))
    return found


class Sender:
    """Hands notices to all ways and returns at once. Nothing given to it raises."""

    def __init__(
        self,
        ways: Iterable[Channel],
        settings: NotifySettings,
        *,
        claim: Claim,
        on_problem: Callable[[str], None],
        stopping: threading.Event | None = None,
    ) -> None:
        """`claim` says whether a notice is still to be sent by a shared way, as others may look
        at the same run. `on_problem` gets a sentence when a way fails, from another thread, and
        no second one until it works again. `stopping` ends the waits of the ways."""
        self._stopping = stopping or threading.Event()
        self._lanes = [
            ChannelQueue(
                way, RateLimiter(settings.min_seconds, settings.repeat_seconds), claim, on_problem
            )
            for way in ways
        ]

    def send(self, notices: Iterable[Notice]) -> None:
        """Queues the notices for every channel."""
        for notice in notices:
            for lane in self._lanes:
                lane.put(notice)

    def flush(self, seconds: float, left: Callable[[], bool] = lambda: False) -> bool:
        """Sends what is held back, for so many seconds at most or until `left`; whether all
        is sent. From then on nothing is held back."""
        for lane in self._lanes:
            lane.hurry()
        until = time.monotonic() + seconds
        while (busy := [lane for lane in self._lanes if lane.busy]) and not left():
            if time.monotonic() >= until:
                break
            time.sleep(0.02)
        return not busy

    def close(self) -> None:
        """Ends all threads after what they do now; does not wait for them."""
        self._stopping.set()
        for lane in self._lanes:
            lane.stop()


class ChannelQueue:
    """One way with its own limit and thread, so that a slow one holds up no other."""

    def __init__(
        self, way: Channel, limiter: RateLimiter, claim: Claim, on_problem: Callable[[str], None]
    ) -> None:
        self._way = way
        self._limiter = limiter
        self._claim = claim
        self._on_problem = on_problem
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None
        self._sending = self._hurried = self._stopped = self._failed = False

    @property
    def busy(self) -> bool:
        """Whether something is still to be sent."""
        with self._condition:
            return self._sending or self._limiter.wait(time.monotonic()) is not None

    def put(self, notice: Notice) -> None:
        """Takes a notice in."""
        with self._condition:
            if self._stopped or not self._limiter.put(notice, time.monotonic()):
                return
            if self._thread is None:
                name = f"notify {self._way.name}"
                self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._thread.start()
            self._condition.notify()

    def hurry(self) -> None:
        """From now on nothing is held back."""
        with self._condition:
            self._hurried = True
            self._condition.notify()

    def stop(self) -> None:
        """Ends the thread after what it does now; does not wait for it."""
        with self._condition:
            self._stopped = True
            self._condition.notify()

    def _run(self) -> None:
        while True:
            notices = self._next()
            if not notices:
                return
            problem = None
            try:
                problem = self._send(notices)
            except Exception as error:  # a channel that fails is reported, and harms nothing
                problem = f"failed unexpectedly: {type(error).__name__}: {error}"
            if problem is not None and not self._failed:
                with contextlib.suppress(Exception):  # the app may have ended
                    self._on_problem(f"notify: {self._way.name}: {problem}")
            self._failed = problem is not None
            with self._condition:  # only now: `flush` returns once nothing is being sent
                self._sending = False

    def _next(self) -> list[Notice]:
        """Waits for what is to be sent now; nothing once the lane is stopped."""
        with self._condition:
            while not self._stopped:
                wait = self._limiter.wait(time.monotonic())
                if wait == 0 or (wait is not None and self._hurried):
                    self._sending = True
                    return self._limiter.take(time.monotonic())
                self._condition.wait(wait)
            return []

    def _send(self, notices: list[Notice]) -> str | None:
        shared = self._way.shared
        if shared is not None:
            notices = [one for one in notices if not one.path or self._claim(one, shared)]
        return self._way.send(together(notices)) if notices else None
