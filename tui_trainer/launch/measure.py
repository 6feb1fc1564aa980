"""Evaluation of a model in its own process, which appends the results to a journal."""

from __future__ import annotations

import subprocess
import threading
from collections import deque
from collections.abc import Callable

import msgspec

from tui_trainer.contracts.errors import BAD_CONTENT, UserError
from tui_trainer.contracts.evaluation import EvaluationProgress, EvaluationRequest
from tui_trainer.launch.engine_process import check_installed
from tui_trainer.store import child_process

KILLED = -9
_KEPT_LINES = 40  # of the process's standard error


def measure(request: EvaluationRequest, on_progress: Callable[[EvaluationProgress], None]) -> None:
    """Measure what the journal of the request lacks, and return when it is complete.

    Raises `UserError` with the process's message where it fails. Any exception meanwhile, such as
    that of Ctrl-C, ends the process; what is in the journal stays.
    """
    check_installed()
    command = child_process.module_command("tui_trainer.engine.measure")
    pipe = subprocess.PIPE
    process = child_process.start(command, stdin=pipe, stdout=pipe, stderr=pipe)
    errors: deque[str] = deque(maxlen=_KEPT_LINES)
    reader = threading.Thread(target=_read_errors, args=(process, errors), daemon=True)
    reader.start()
    try:
        assert process.stdin is not None and process.stdout is not None  # noqa: S101
        process.stdin.write(msgspec.json.encode(request))
        process.stdin.close()
        decoder = msgspec.json.Decoder(EvaluationProgress)
        for line in process.stdout:
            try:
                progress = decoder.decode(line)
            except BAD_CONTENT:
                continue  # not a line of ours
            on_progress(progress)
        status = process.wait()
    except BrokenPipeError:
        status = process.wait()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if status == 0:
        return
    if status == KILLED:
        raise UserError(
            "the evaluating process was killed, most likely because memory ran out; what it had "
            "measured is kept: use a smaller base or --quantization nf4",
            1,
        )
    reader.join(1.0)
    last = errors[-1] if errors else f"the evaluating process ended with exit status {status}"
    raise UserError(last, status if status in (1, 2) else 1)


def _read_errors(process: subprocess.Popen[bytes], errors: deque[str]) -> None:
    assert process.stderr is not None  # noqa: S101
    for line in process.stderr:
        if line.strip():
            errors.append(line.decode("utf-8", "replace").rstrip())
