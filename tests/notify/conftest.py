"""Servers on this machine that do to a webhook what servers do."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tui_trainer.notify import webhook_channel

Reply = Callable[[http.server.BaseHTTPRequestHandler], None]


class Server:
    """Answers each request with the next reply, the last one for ever; keeps what came."""

    def __init__(self, *replies: Reply) -> None:
        self.got: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.methods: list[str] = []
        self.over = threading.Event()
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                server.methods.append(self.command)
                server.headers.append(dict(self.headers))
                server.got.append(json.loads(self.rfile.read(length) or b"{}"))
                replies[min(len(server.got), len(replies)) - 1](self)

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._http.server_address[1]}/hook/s3cret"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.over.set()
        self._http.shutdown()
        self._http.server_close()


def answer(status: int, **headers: str) -> Reply:
    """A whole answer."""

    def reply(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return reply


def die(handler: http.server.BaseHTTPRequestHandler) -> None:
    """Half a line, and the line is dead."""
    handler.wfile.write(b"HTTP/1.1 2")
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    """Makes a server; tries follow each other at once."""
    monkeypatch.setattr(webhook_channel, "FIRST_WAIT", 0.01)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    made: list[Server] = []

    def make(*replies: Reply) -> Server:
        made.append(Server(*replies))
        return made[-1]

    yield make
    for server in made:
        server.close()
