"""A webhook against real servers: good ones, and slow, refusing, dying, redirecting ones."""

from __future__ import annotations

import http.server
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.notify.conftest import Server, answer, die
from tui_trainer.contracts.notice import Notice, NotifySettings
from tui_trainer.notify.notice_rules import SeenRun, end_notices, make_test_notice
from tui_trainer.notify.webhook_channel import WebhookChannel

Serve = Callable[..., Server]
CRASH = end_notices(
    SeenRun(path=Path("/runs/lighthouse-id"), run="lighthouse-id", name="lighthouse",
         status="crashed", step=1420, total_steps=3000, loss=1.284),
    ["crash"], 1_790_000_000.0,
)[0]  # fmt: skip


def hook(address: str, **settings: Any) -> WebhookChannel:
    values = {"webhook": address, "webhook_seconds": 5.0, "webhook_retries": 2, **settings}
    return WebhookChannel(msgspec.convert(values, NotifySettings))


def send(address: str, notice: Notice = CRASH, **settings: Any) -> str | None:
    return hook(address, **settings).send(notice)


def test_a_notice_arrives_as_json(serve: Serve) -> None:
    server = serve(answer(204))
    assert send(server.address) is None
    (got,) = server.got
    assert got["tool"] == "tui-trainer"
    assert (got["kind"], got["name"], got["step"], got["total_steps"]) == (
        "crash", "lighthouse", 1420, 3000,
    )  # fmt: skip
    assert got["text"] == got["content"]
    assert got["text"].startswith(
        "lighthouse crashed: the training process ended unexpectedly at step 1,420"
    )
    assert server.headers[0]["Content-Type"] == "application/json"


def test_a_temporary_error_is_retried(serve: Serve) -> None:
    server = serve(answer(500), answer(429), answer(200))
    assert send(server.address) is None
    assert len(server.got) == 3
    assert server.got[0] == server.got[2]


def test_a_lasting_error_is_reported(serve: Serve) -> None:
    server = serve(answer(503))
    problem = send(server.address)
    assert problem is not None
    assert "responded with status 503 (3 attempts)" in problem
    assert "s3cret" not in problem, "an address may be a secret"


def test_a_refusal_is_not_retried(serve: Serve) -> None:
    server = serve(answer(404))
    problem = send(server.address)
    assert problem is not None
    assert problem.endswith("responded with status 404")
    assert len(server.got) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_reported_and_not_followed(serve: Serve, status: int) -> None:
    elsewhere = serve(answer(200))
    server = serve(answer(status, Location=elsewhere.address))
    problem = send(server.address)
    assert problem is not None
    assert f"redirect ({status})" in problem
    assert "s3cret" not in problem
    assert not elsewhere.got


def test_a_slow_server_times_out(serve: Serve) -> None:
    over = threading.Event()
    server = serve(lambda _: over.wait(60) and None)
    problem = send(server.address, webhook_seconds=0.1, webhook_retries=1)
    over.set()
    assert problem is not None
    assert problem.endswith("did not respond within 100 ms (2 attempts)")
    assert len(server.got) == 2


def test_a_server_that_sends_single_bytes_times_out(serve: Serve) -> None:
    over = threading.Event()

    def drip(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while not over.wait(0.02):
            handler.wfile.write(b"x")

    server = serve(drip)
    channel = hook(server.address, webhook_seconds=0.1, webhook_retries=0)
    problems = [channel.send(CRASH) for _ in range(6)]
    over.set()
    assert "did not respond within 100 ms" in str(problems[0])
    assert "still does not respond" in str(problems[5]), "threads do not pile up"
    assert len(server.got) == 4


def test_an_interrupted_response_is_retried(serve: Serve) -> None:
    server = serve(die, answer(200))
    assert send(server.address) is None
    assert len(server.got) == 2
    dead = serve(die)
    assert "cannot be reached" in str(send(dead.address))


def test_an_unreachable_server_is_reported() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but not listening: refused
        problem = send(f"http://127.0.0.1:{taken.getsockname()[1]}/x", webhook_retries=0)
    assert problem is not None
    assert "cannot be reached: Connection refused" in problem


def test_a_name_and_password_go_into_the_header(serve: Serve) -> None:
    server = serve(answer(200), answer(403))
    address = server.address.replace("http://", "http://ann:p%40ss@")
    assert send(address) is None
    assert server.headers[0]["Authorization"] == "Basic YW5uOnBAc3M="
    problem = send(address)
    assert problem is not None
    assert "ann" not in problem
    assert "p%40ss" not in problem


def test_stopping_ends_the_wait_for_another_attempt(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui_trainer.notify.webhook_channel.FIRST_WAIT", 600.0)
    server, leaving = serve(answer(500)), threading.Event()
    settings = NotifySettings(webhook=server.address)
    channel = WebhookChannel(settings, leaving)
    found: list[str | None] = []
    thread = threading.Thread(
        target=lambda: found.append(channel.send(make_test_notice(time.time())))
    )
    thread.start()
    leaving.set()
    thread.join(60)
    assert "status 500" in str(found)


@pytest.mark.parametrize(
    "address",
    ["ftp://host/x", "http://", "//host", "https://a b/c", "http://h:70000/", "file:///x"],
)
def test_only_web_addresses_are_accepted(address: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert({"webhook": address}, NotifySettings)
    assert "webhook is not an address such as https://" in str(caught.value)
    assert address not in str(caught.value)
