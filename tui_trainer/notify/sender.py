"""Sending notices through every channel that is set, each in its own thread."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from tui_trainer.contracts.notice import Notice, NotifySettings
from tui_trainer.notify import terminal_channel
from tui_trainer.notify.rate_limit import RateLimiter, combine
from tui_trainer.notify.subprocess_channel import CommandChannel, find_desktop_channel
from tui_trainer.notify.webhook_channel import WebhookChannel

Claim = Callable[[Notice, str], bool]


class Channel(Protocol):
    """A way to send notices.

    `name` is shown to the user. `shared` is a key if every process that watches the run would
    send to the same receiver, so that only one of them must; None if each has its own.
    """

    @property
    def name(self) -> str: ...
    @property
    def shared(self) -> str | None: ...
    def send(self, notice: Notice) -> str | None: ...


class TerminalChannel:
    """The terminal of this process."""

    name = "terminal"
    shared = None

    def __init__(
        self, write: Callable[[str], None], settings: NotifySettings, environment: Mapping[str, str]
    ) -> None:
        self._write = write
        self._settings = settings
        self._environment = environment

    def send(self, notice: Notice) -> str | None:
        """Write the bell and escape sequences; returns None, as failures cannot be detected."""
        text = terminal_channel.sequences(notice, self._settings, self._environment)
        if text:
            self._write(text)
        return None


def open_channels(
    settings: NotifySettings,
    environment: Mapping[str, str],
    write: Callable[[str], None] | None,
    stopping: threading.Event | None = None,
) -> list[Channel]:
    """The channels that are set and available; `write` writes to the terminal, None without one."""
    found: list[Channel] = []
    if write is not None and (settings.bell or settings.osc != "off"):
        found.append(TerminalChannel(write, settings, environment))
    desktop = find_desktop_channel(settings, environment)
    if desktop is not None:
        found.append(desktop)
    if settings.webhook is not None:
        found.append(WebhookChannel(settings, stopping))
    if settings.command is not None:
        found.append(CommandChannel(settings.command, settings.command_seconds))
    return found


class Sender:
    """Queues notices for all channels and returns at once. Errors of a channel are reported to
    `on_problem`, never raised."""

    def __init__(
        self,
        channels: Iterable[Channel],
        settings: NotifySettings,
        *,
        claim: Claim,
        on_problem: Callable[[str], None],
        stopping: threading.Event | None = None,
    ) -> None:
        """`claim` returns whether this process sends a notice through a shared channel, as others
        may watch the same run. `on_problem` gets a sentence when a channel fails, from another
        thread, and the next one only after the channel worked again. `stopping` ends the waits of
        the channels."""
        self._stopping = stopping or threading.Event()
        self._queues = [
            ChannelQueue(
                channel,
                RateLimiter(settings.min_seconds, settings.repeat_seconds),
                claim,
                on_problem,
            )
            for channel in channels
        ]

    def send(self, notices: Iterable[Notice]) -> None:
        """Queue the notices for every channel."""
        for notice in notices:
            for queue in self._queues:
                queue.put(notice)

    def flush(self, seconds: float, stop: Callable[[], bool] = lambda: False) -> bool:
        """Send delayed notices, at most for `seconds` or until `stop()`; returns whether all was
        sent. From then on no notice is delayed."""
        for queue in self._queues:
            queue.send_at_once()
        until = time.monotonic() + seconds
        while (busy := [queue for queue in self._queues if queue.busy]) and not stop():
            if time.monotonic() >= until:
                break
            time.sleep(0.02)
        return not busy

    def close(self) -> None:
        """Stop the threads after the notice that they send now, without waiting."""
        self._stopping.set()
        for queue in self._queues:
            queue.stop()


class ChannelQueue:
    """One channel with its own limit and thread, so that a slow one does not delay others."""

    def __init__(
        self,
        channel: Channel,
        limiter: RateLimiter,
        claim: Claim,
        on_problem: Callable[[str], None],
    ) -> None:
        self._channel = channel
        self._limiter = limiter
        self._claim = claim
        self._on_problem = on_problem
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None
        self._sending = self._undelayed = self._stopped = self._failed = False

    @property
    def busy(self) -> bool:
        """Whether a notice is being sent or waits."""
        with self._condition:
            return self._sending or self._limiter.wait(time.monotonic()) is not None

    def put(self, notice: Notice) -> None:
        """Queue a notice."""
        with self._condition:
            if self._stopped or not self._limiter.put(notice, time.monotonic()):
                return
            if self._thread is None:
                name = f"notify {self._channel.name}"
                self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._thread.start()
            self._condition.notify()

    def send_at_once(self) -> None:
        """Delay no notice from now on."""
        with self._condition:
            self._undelayed = True
            self._condition.notify()

    def stop(self) -> None:
        """Stop the thread after the notice that it sends now, without waiting."""
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
            except Exception as error:  # reported below; must not end the thread
                problem = f"failed unexpectedly: {type(error).__name__}: {error}"
            if problem is not None and not self._failed:
                with contextlib.suppress(Exception):  # the app may have exited
                    self._on_problem(f"notify: {self._channel.name}: {problem}")
            self._failed = problem is not None
            with self._condition:  # after the report: `flush` returns once nothing is being sent
                self._sending = False

    def _next(self) -> list[Notice]:
        """Wait for the notices to send next; returns none once the queue is stopped."""
        with self._condition:
            while not self._stopped:
                wait = self._limiter.wait(time.monotonic())
                if wait == 0 or (wait is not None and self._undelayed):
                    self._sending = True
                    return self._limiter.pop_all(time.monotonic())
                self._condition.wait(wait)
            return []

    def _send(self, notices: list[Notice]) -> str | None:
        shared = self._channel.shared
        if shared is not None:
            notices = [one for one in notices if not one.path or self._claim(one, shared)]
        return self._channel.send(combine(notices)) if notices else None
