"""`python -P -m tui_trainer.models.serving.serve --model M`: the chat process.

It keeps a base loaded, takes requests as JSON lines on stdin and tells events on stdout, see
`contracts/chat.py`. It ends when stdin closes. Exit status: 0, or that of what kept the base
from being loaded.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import traceback
import warnings
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from tui_trainer.contracts.chat import CancelRequest, Request, RequestFailed, Status
from tui_trainer.contracts.errors import BAD_CONTENT, UserError
from tui_trainer.models.serving.server_state import OutputPipe, ServerState, unexpected

if TYPE_CHECKING:
    from tui_trainer.models.serving.service import Service

ENDING_SECONDS = 2.0


class _Named(msgspec.Struct):
    """As much of a request as an answer to it needs."""

    id: str


def main(arguments: list[str] | None = None) -> int:
    """Serves until stdin closes; gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tui_trainer.models.serving.serve", description=__doc__
    )
    parser.add_argument("--model", required=True, help='"builtin", a folder or a hub id')
    parser.add_argument("--trust-remote-code", action="store_true")
    parser.add_argument("--threads", type=int, help="CPU threads; half of the CPUs by default")
    options = parser.parse_args(arguments)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait must not spin
    warnings.filterwarnings("ignore")  # addressed to the authors of the libraries
    desk = ServerState(OutputPipe(_own_stdout()))
    threading.Thread(target=_read_requests, args=(desk,), name="requests", daemon=True).start()
    try:
        desk.wire.send(Status(message="loading PyTorch"))
        from tui_trainer.models.serving.service import load_service

        service = load_service(
            options.model,
            desk,
            trust_remote_code=options.trust_remote_code,
            threads=options.threads,
        )
    except UserError as error:
        desk.wire.send(RequestFailed(id=None, message=str(error), exit_status=error.exit_status))
        return error.exit_status
    except ModuleNotFoundError as error:
        message = f'chat needs {error.name}; install with: pip install "tui-trainer[train]"'
        desk.wire.send(RequestFailed(id=None, message=message))
        return 1
    except Exception as error:
        traceback.print_exc()
        desk.wire.send(RequestFailed(id=None, message=unexpected(error)))
        return 1
    _serve(desk, service)
    return 0


def _serve(desk: ServerState, service: Service) -> None:
    desk.wire.send(service.facts)
    files = threading.Thread(target=_serve_files, args=(desk, service), name="files", daemon=True)
    files.start()
    while (request := desk.model_requests.next()) is not None:
        desk.perform(desk.model_requests, request, service.handle)
    files.join(ENDING_SECONDS)  # a merge clears away what it had written
    desk.ended.set()


def _serve_files(desk: ServerState, service: Service) -> None:
    while (request := desk.file_requests.next()) is not None:
        desk.perform(desk.file_requests, request, service.handle_files)


def _read_requests(desk: ServerState) -> None:
    """Takes requests until stdin closes, then sees to it that the process ends."""
    decoder: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
    for line in sys.stdin.buffer:
        try:
            request = decoder.decode(line)
        except BAD_CONTENT as error:
            _refuse(desk, line, error)
            continue
        if isinstance(request, CancelRequest):
            desk.model_requests.put(request)
            desk.file_requests.put(request)
        else:
            desk.inbox_of(request).put(request)
    desk.model_requests.close()
    desk.file_requests.close()
    desk.ended.wait(ENDING_SECONDS)
    os._exit(0)  # also in the midst of loading, or of a long forward pass


def _refuse(desk: ServerState, line: bytes, error: Exception) -> None:
    """Tells whoever waits for it that a line is no request."""
    try:
        named = msgspec.json.decode(line, type=_Named).id
    except BAD_CONTENT:
        print(f"not a request: {error}", file=sys.stderr)  # noqa: T201
        return
    message = f"the chat process cannot take the request: {error}"
    desk.wire.send(RequestFailed(id=named, message=message, exit_status=2))


def _own_stdout() -> BinaryIO:
    """Standard output for events alone: what libraries print goes to standard error."""
    stream = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return stream


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)  # the thread that reads stdin would hold up a regular end
