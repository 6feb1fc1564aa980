"""The webhook: a notice as JSON to an address of the user's, with a time limit and retries."""

from __future__ import annotations

import base64
import math
import threading
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import msgspec

from tui_trainer.contracts.notice import Notice, NotifySettings
from tui_trainer.text import formats

FIRST_WAIT = 1.0  # seconds before the second try; doubled before each further one
_LONGEST_WAIT = 30.0  # seconds between two tries, whatever the server asks for
_MOST_ABANDONED = 4
_AGAIN = (408, 425, 429)  # and all from 500 on: the server may be better in a moment


@dataclass(frozen=True)
class DeliveryAttempt:
    """What came of one try: `problem` in words, None where the notice arrived; whether another
    try may help, and after how many seconds the server asks for it."""

    problem: str | None = None
    again: bool = False
    after: float = 0.0


class WebhookChannel:
    """Posts notices. Proxies are those of the environment; redirects are not followed."""

    name = "webhook"
    shared = "webhook"

    def __init__(self, settings: NotifySettings, stopping: threading.Event | None = None) -> None:
        assert settings.webhook is not None  # noqa: S101  (the caller's choice)
        self._address, self._headers = _split(settings.webhook)
        self._shown = shown_address(settings.webhook)
        self._seconds = settings.webhook_seconds
        self._retries = settings.webhook_retries
        self._stopping = stopping or threading.Event()
        self._abandoned: list[threading.Thread] = []

    def send(self, notice: Notice) -> str | None:
        """Why it did not arrive, in a sentence; None where it did."""
        data = msgspec.json.encode(payload(notice))
        tries = 0
        while True:
            answer = self._try(data)
            tries += 1
            if answer.problem is None:
                return None
            if not answer.again or tries > self._retries:
                break
            wait = min(max(FIRST_WAIT * 2 ** (tries - 1), answer.after), _LONGEST_WAIT)
            if self._stopping.wait(wait):
                break
        times = f" ({tries} tries)" if tries > 1 else ""
        return f"{self._shown} {answer.problem}{times}"

    def _try(self, data: bytes) -> DeliveryAttempt:
        """One try in a thread of its own: neither a name server nor a server that sends a byte
        now and then can hold up more than that."""
        self._abandoned = [thread for thread in self._abandoned if thread.is_alive()]
        if len(self._abandoned) >= _MOST_ABANDONED:
            return DeliveryAttempt("still does not answer")
        found: list[DeliveryAttempt] = []
        done = threading.Event()

        def work() -> None:
            try:
                found.append(_post(self._address, self._headers, data, self._seconds))
            except Exception as error:  # nothing that a server sends may end the sending
                found.append(DeliveryAttempt(f"cannot be reached: {_words(error)}", again=True))
            done.set()

        thread = threading.Thread(target=work, name="webhook", daemon=True)
        thread.start()
        if not done.wait(self._seconds + 0.1):
            self._abandoned.append(thread)
        return (
            found[0]
            if found
            else DeliveryAttempt(f"did not answer in {self._seconds:g} s", again=True)
        )


def payload(notice: Notice) -> dict[str, Any]:
    """The JSON document: the notice's own fields; `text` and `content` are what chat services
    show."""
    values: dict[str, Any] = msgspec.to_builtins(notice)
    return {"tool": "tui-trainer", **values, "content": notice.text}


def _post(address: str, headers: dict[str, str], data: bytes, seconds: float) -> DeliveryAttempt:
    """Posts once. Raises `OSError` and `http.client.HTTPException`."""
    import urllib.error  # 30 ms to load, for those who have a webhook
    import urllib.request

    class Stay(urllib.request.HTTPRedirectHandler):
        """A redirected notice would arrive as a GET without its content, or elsewhere than the
        user said."""

        def redirect_request(self, *arguments: Any, **named: Any) -> None:
            return None

    request = urllib.request.Request(address, data, headers, method="POST")  # noqa: S310  (checked)
    try:
        with urllib.request.build_opener(Stay).open(request, timeout=seconds):
            return DeliveryAttempt()  # its status is 2xx, and the rest is not needed
    except urllib.error.HTTPError as error:
        with error:
            return _refusal(error.code, error.headers)
    except urllib.error.URLError as error:
        reason = error.reason
        if isinstance(reason, TimeoutError):
            raise reason from None
        words = (
            _words(reason)
            if isinstance(reason, BaseException)
            else formats.one_line(str(reason), 120)
        )
        return DeliveryAttempt(f"cannot be reached: {words}", again=True)
    except TimeoutError:
        return DeliveryAttempt(f"did not answer in {seconds:g} s", again=True)


def _refusal(code: int, headers: Any) -> DeliveryAttempt:
    if 300 <= code < 400:
        place = shown_address(str(headers.get("Location", ""))) if headers.get("Location") else "?"
        return DeliveryAttempt(f"answers with a redirect ({code}) to {place}; give the new address")
    again = code >= 500 or code in _AGAIN
    try:
        after = float(headers.get("Retry-After", 0))
    except ValueError:  # a date
        after = 0.0
    return DeliveryAttempt(
        f"answers with status {code}", again, after if math.isfinite(after) else 0.0
    )


def _split(address: str) -> tuple[str, dict[str, str]]:
    """The address as it is asked for, and the headers: a user's name and password go there."""
    headers = {"Content-Type": "application/json", "User-Agent": "tui-trainer"}
    parts = urlsplit(address)
    if parts.username is not None:
        words = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(words.encode()).decode()}"
        address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return address, headers


def _words(error: BaseException) -> str:
    """What went wrong, without an address in it."""
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return formats.one_line(words, 120)


def shown_address(address: str) -> str:
    """A webhook's address without what may be secret in it: scheme and host, and that there is
    more."""
    parts = urlsplit(address)
    port = f":{parts.port}" if parts.port else ""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    more = "/…" if parts.path.strip("/") or parts.query else ""
    return f"{parts.scheme}://{host}{port}{more}"
