"""The webhook channel: posts notices as JSON to the user's address, with timeout and retries."""

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

FIRST_WAIT = 1.0  # seconds before the second attempt; doubled before each further one
_LONGEST_WAIT = 30.0  # seconds between two attempts, even if the server asks for more
_MOST_ABANDONED = 4  # threads whose attempt timed out and has not returned
_RETRIED = (408, 425, 429)  # and all from 500 on: temporary errors of a server


@dataclass(frozen=True)
class DeliveryAttempt:
    """The result of one attempt."""

    problem: str | None = None  # end of a sentence; None if the notice was delivered
    again: bool = False  # whether another attempt may succeed
    after: float = 0.0  # seconds that the server asks to wait before it


class WebhookChannel:
    """Posts notices. Uses the proxies of the environment, and follows no redirects."""

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
        """Post a notice; returns why it was not delivered, in a sentence, or None."""
        data = msgspec.json.encode(payload(notice))
        attempts = 0
        while True:
            attempt = self._attempt(data)
            attempts += 1
            if attempt.problem is None:
                return None
            if not attempt.again or attempts > self._retries:
                break
            wait = min(max(FIRST_WAIT * 2 ** (attempts - 1), attempt.after), _LONGEST_WAIT)
            if self._stopping.wait(wait):
                break
        count = f" ({formats.plural(attempts, 'attempt')})" if attempts > 1 else ""
        return f"{self._shown} {attempt.problem}{count}"

    def _attempt(self, data: bytes) -> DeliveryAttempt:
        """Post once, in a separate thread: a slow name server, or a server that sends a byte from
        time to time, would otherwise exceed the time limit."""
        self._abandoned = [thread for thread in self._abandoned if thread.is_alive()]
        if len(self._abandoned) >= _MOST_ABANDONED:
            return DeliveryAttempt("still does not respond")
        found: list[DeliveryAttempt] = []
        done = threading.Event()

        def work() -> None:
            try:
                found.append(_post(self._address, self._headers, data, self._seconds))
            except Exception as error:  # whatever a server sends: reported as a failed attempt
                found.append(DeliveryAttempt(f"cannot be reached: {_reason(error)}", again=True))
            done.set()

        thread = threading.Thread(target=work, name="webhook", daemon=True)
        thread.start()
        if not done.wait(self._seconds + 0.1):
            self._abandoned.append(thread)
        return found[0] if found else _timed_out(self._seconds)


def _timed_out(seconds: float) -> DeliveryAttempt:
    limit = formats.milliseconds(seconds * 1000)
    return DeliveryAttempt(f"did not respond within {limit}", again=True)


def payload(notice: Notice) -> dict[str, Any]:
    """The JSON document: the notice's fields, of which chat services show `text`, and the same
    text as `content`, for those that show that."""
    values: dict[str, Any] = msgspec.to_builtins(notice)
    return {"tool": "tui-trainer", **values, "content": notice.text}


def _post(address: str, headers: dict[str, str], data: bytes, seconds: float) -> DeliveryAttempt:
    """Post once. Raises `OSError` and `http.client.HTTPException`."""
    import urllib.error  # takes 30 ms, and only a webhook needs it
    import urllib.request

    class NoRedirect(urllib.request.HTTPRedirectHandler):
        """Follows no redirect: the notice would arrive as a GET without its content, or at an
        address that the user did not set."""

        def redirect_request(self, *arguments: Any, **named: Any) -> None:
            return None

    request = urllib.request.Request(address, data, headers, method="POST")  # noqa: S310  (checked)
    try:
        with urllib.request.build_opener(NoRedirect).open(request, timeout=seconds):
            return DeliveryAttempt()  # the status is 2xx, and the content is not needed
    except urllib.error.HTTPError as error:
        with error:
            return _refusal(error.code, error.headers)
    except urllib.error.URLError as error:
        reason = error.reason
        if isinstance(reason, TimeoutError):
            raise reason from None
        text = (
            _reason(reason)
            if isinstance(reason, BaseException)
            else formats.one_line(str(reason), 120)
        )
        return DeliveryAttempt(f"cannot be reached: {text}", again=True)
    except TimeoutError:
        return _timed_out(seconds)


def _refusal(code: int, headers: Any) -> DeliveryAttempt:
    if 300 <= code < 400:
        target = str(headers.get("Location") or "")
        shown = shown_address(target) if target else "another address"
        return DeliveryAttempt(
            f"responded with a redirect ({code}) to {shown}; set webhook to the new address"
        )
    again = code >= 500 or code in _RETRIED
    try:
        after = float(headers.get("Retry-After", 0))
    except ValueError:  # a date
        after = 0.0
    return DeliveryAttempt(
        f"responded with status {code}", again, after if math.isfinite(after) else 0.0
    )


def _split(address: str) -> tuple[str, dict[str, str]]:
    """The address without user name and password, and the headers with them."""
    headers = {"Content-Type": "application/json", "User-Agent": "tui-trainer"}
    parts = urlsplit(address)
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
        address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return address, headers


def _reason(error: BaseException) -> str:
    """What went wrong, in one line that does not contain the address."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return formats.one_line(text, 120)


def shown_address(address: str) -> str:
    """A webhook's address without the parts that may be secret: scheme and host, and "/…" for
    the rest."""
    parts = urlsplit(address)
    port = f":{parts.port}" if parts.port else ""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    more = "/…" if parts.path.strip("/") or parts.query else ""
    return f"{parts.scheme}://{host}{port}{more}"
