"""`python -P -m tui_trainer.models.serving.serve --model M`: the chat process.

It keeps a base loaded, reads requests as JSON lines from stdin and writes events to stdout, see
`contracts/chat.py`. It ends when stdin closes. Exit status: 0, or that of the error for which
the base could not be loaded.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import traceback
import typing
import warnings
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from tui_trainer.contracts.chat.protocol import CancelRequest, Request, RequestFailed, Status
from tui_trainer.contracts.errors import BAD_CONTENT, UserError
from tui_trainer.contracts.job import Quantization
from tui_trainer.models.serving.server_state import OutputPipe, ServerState, unexpected

if TYPE_CHECKING:
    from tui_trainer.models.serving.service import Service

ENDING_SECONDS = 2.0


class _RequestId(msgspec.Struct):
    """The part of a request that an answer to it needs."""

    id: str


def main(arguments: list[str] | None = None) -> int:
    """Serves until stdin closes; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tui_trainer.models.serving.serve", description=__doc__
    )
    parser.add_argument("--model", required=True, help='"builtin", a folder or a hub id')
    parser.add_argument("--trust-remote-code", action="store_true")
    parser.add_argument("--threads", type=int, help="CPU threads; half of the CPUs by default")
    parser.add_argument(
        "--quantization", choices=typing.get_args(Quantization), default="none", help="of the base"
    )
    options = parser.parse_args(arguments)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # waiting threads must not use the CPU
    warnings.filterwarnings("ignore")  # addressed to the authors of the libraries
    state = ServerState(OutputPipe(_own_stdout()))
    threading.Thread(target=_read_requests, args=(state,), name="requests", daemon=True).start()
    try:
        state.wire.send(Status(message="loading PyTorch"))
        from tui_trainer.models.serving.service import load_service

        service = load_service(
            options.model,
            state,
            trust_remote_code=options.trust_remote_code,
            threads=options.threads,
            quantization=options.quantization,
        )
    except UserError as error:
        state.wire.send(RequestFailed(id=None, message=str(error), exit_status=error.exit_status))
        return error.exit_status
    except ModuleNotFoundError as error:
        message = f'chat needs {error.name}; install with: pip install "tui-trainer[train]"'
        state.wire.send(RequestFailed(id=None, message=message))
        return 1
    except Exception as error:
        traceback.print_exc()
        state.wire.send(RequestFailed(id=None, message=unexpected(error)))
        return 1
    _serve(state, service)
    return 0


def _serve(state: ServerState, service: Service) -> None:
    state.wire.send(service.facts)
    files = threading.Thread(target=_serve_files, args=(state, service), name="files", daemon=True)
    files.start()
    while (request := state.model_requests.next()) is not None:
        state.perform(state.model_requests, request, service.handle)
    files.join(ENDING_SECONDS)  # an interrupted merge deletes what it had written
    state.ended.set()


def _serve_files(state: ServerState, service: Service) -> None:
    while (request := state.file_requests.next()) is not None:
        state.perform(state.file_requests, request, service.handle_files)


def _read_requests(state: ServerState) -> None:
    """Queues requests until stdin closes, then ends the process."""
    decoder: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
    for line in sys.stdin.buffer:
        try:
            request = decoder.decode(line)
        except BAD_CONTENT as error:
            _refuse(state, line, error)
            continue
        if isinstance(request, CancelRequest):
            state.model_requests.put(request)
            state.file_requests.put(request)
        else:
            state.inbox_of(request).put(request)
    state.model_requests.close()
    state.file_requests.close()
    state.ended.wait(ENDING_SECONDS)
    os._exit(0)  # also during loading or a long forward pass


def _refuse(state: ServerState, line: bytes, error: Exception) -> None:
    """Reports that a line is not a valid request, to the one who waits for its answer."""
    try:
        named = msgspec.json.decode(line, type=_RequestId).id
    except BAD_CONTENT:
        print(f"not a request: {error}", file=sys.stderr)  # noqa: T201
        return
    message = f"the chat process cannot read the request: {error}"
    state.wire.send(RequestFailed(id=named, message=message, exit_status=2))


def _own_stdout() -> BinaryIO:
    """A copy of standard output for events; what libraries print goes to standard error."""
    stream = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return stream


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)  # a regular exit would wait for the thread that reads stdin
