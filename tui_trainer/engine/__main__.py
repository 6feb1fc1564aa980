"""`python -m tui_trainer.engine RUN_DIR`: runs one job in its own process.

Where the job asks for several processes it launches them and waits. Under `torchrun` or
`accelerate launch` it is one of them, and RUN_DIR may also be a job file.

Exit status: 0 completed, or saved and stopped; 1 failed; 2 bad input; 130 cancelled.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tui_trainer.contracts.errors import NoMemoryError, UserError, is_out_of_memory
from tui_trainer.contracts.runs.run import RunInfo, StateName
from tui_trainer.engine.distributed.dist_env import process_rank
from tui_trainer.engine.process import background, console
from tui_trainer.engine.records.run_reporter import RunReporter
from tui_trainer.engine.state.command_source import CommandSource
from tui_trainer.engine.state.ranks import Ranks
from tui_trainer.store import atomic, file_lock, jobs
from tui_trainer.store.runs import disk_reserve, refused_resume, run_folder
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.text import formats

if TYPE_CHECKING:
    from tui_trainer.engine.state.session import Session

# Seconds to wait for the lock: the process that starts an engine holds it for an instant.
LOCK_SECONDS = 1.0
FINISHED = ("completed", "early_stopped")


def main(arguments: list[str] | None = None) -> int:
    """Start or resume the run in a folder; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tui_trainer.engine", description=__doc__)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--from", dest="from_checkpoint", help="checkpoint to resume from")
    parser.add_argument("--learning-rate", type=float, help="peak of the learning rate from now on")
    parser.add_argument(
        "--background", action="store_true", help="with lower priority, beside a chat"
    )
    options = parser.parse_args(arguments)
    if options.background:
        background.enter()
    # Threads that wait must not spin: on a shared machine that makes small steps 2.5 times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # oneDNN keeps a kernel for every shape it met: 1,024 of them cost a third more memory than 64,
    # which are more than one pass needs, and saved no time (measured, bf16 on a CPU).
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    warnings.filterwarnings("ignore", category=FutureWarning)  # addressed to library authors
    try:
        process = process_rank()
        if process.rank:
            from tui_trainer.engine.distributed import follower

            return follower.main(process)
        folder = open_run(options.run_dir)
        info = folder.info()
        if "TORCHELASTIC_RUN_ID" not in os.environ and (count := processes(info)) > 1:
            from tui_trainer.engine.distributed import launcher

            return launcher.launch(folder, count, _options(options))
        with locked(folder):
            return run(folder, info, options.from_checkpoint, options.learning_rate)
    except UserError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return error.exit_status


def _options(options: argparse.Namespace) -> list[str]:
    """The options after the run folder, as given."""
    found = []
    if options.from_checkpoint is not None:
        found += ["--from", options.from_checkpoint]
    if options.learning_rate is not None:
        found += ["--learning-rate", repr(options.learning_rate)]
    if options.background:
        found.append("--background")
    return found


def open_run(path: Path) -> RunFolder:
    """The run folder `path`, or a new one in `runs` for a job file. Raises `UserError`."""
    if not path.is_file():
        return RunFolder(path.resolve())
    folder = run_folder.create_run(Path("runs").resolve(), jobs.load_job(path))
    print(f"run folder: {folder.path}", flush=True)  # noqa: T201
    return folder


def processes(info: RunInfo | None) -> int:
    """Number of processes that the run's job asks for."""
    count = 1 if info is None else info.job.training.processes
    if count:
        return count
    import torch  # takes seconds; only needed here

    return torch.cuda.device_count()


@contextlib.contextmanager
def locked(folder: RunFolder) -> Iterator[None]:
    """Lock the folder against other engines while the context lasts."""
    with contextlib.ExitStack() as stack:
        try:
            got = stack.enter_context(file_lock.try_lock(folder.lock_file, LOCK_SECONDS))
        except OSError as error:
            raise UserError(
                f"{folder.path} is not a writable run folder: {error.strerror}"
            ) from None
        if not got:
            raise UserError(f"run {folder.path.name} is being trained by another process", 1)
        yield


def run(
    folder: RunFolder, info: RunInfo | None, from_checkpoint: str | None, rate: float | None = None
) -> int:
    """Train the run and return the exit status; the last state is written in any case."""
    if info is None:
        raise UserError(f"{folder.path} is not a run folder: run.json is absent or broken")
    found = refused_resume.as_found(folder.state())
    try:
        report = RunReporter(folder)
    except OSError as error:
        raise UserError(f"{error.filename} cannot be written: {error.strerror}", 1) from None
    control = CommandSource(folder)
    control.listen_to_signals()
    try:
        if found is not None and found.state == "completed" and from_checkpoint is None:
            raise UserError(
                f"run {info.id} is completed; use --from CHECKPOINT to continue from a checkpoint"
            )
        report.set_state("preparing", "starting")
        reason = disk_reserve.make(folder.path)
        if reason is not None:
            message = f"no disk space can be reserved for the run's last messages: {reason}"
            report.event("warning", report.step, message)
        return _train(folder, info, report, control, from_checkpoint, rate)
    except NoMemoryError as error:
        _fail(report, str(error), out_of_memory="loading" if error.loading else "training")
        return error.exit_status
    except UserError as error:
        _fail(report, str(error), **error.detail)
        return error.exit_status
    except OSError as error:
        _fail(report, _disk_error(error, folder))
        return 1
    except Exception as error:
        traceback.print_exc()
        if is_out_of_memory(error):
            message = "out of memory: use a smaller training.batch_size or data.max_length"
            _fail(report, message, out_of_memory="training")
        else:
            _fail(
                report,
                f"unexpected {type(error).__name__}: {str(error).strip() or 'no message'}",
            )
        return 1
    finally:
        report.close()


def _train(
    folder: RunFolder,
    info: RunInfo,
    report: RunReporter,
    control: CommandSource,
    from_checkpoint: str | None,
    rate: float | None,
) -> int:
    from tui_trainer.engine import loop, setup
    from tui_trainer.engine.records import hardware_log  # torch: after the first state
    from tui_trainer.engine.state import learning_rate

    ranks = join_processes(report)
    try:
        session = setup.prepare(folder, info, report, control, from_checkpoint, ranks)
    except setup.EndedEarlyError as ended:
        ranks.end()
        message = f"{ended.command.command} before the first step of this session"
        detail: dict[str, Any] = {"command": ended.command.command, "accepted": True}
        # A run that was finished before stays finished.
        finished = report.state_before is not None and report.state_before.state in FINISHED
        detail |= {"refused": message} if finished else {}
        report.event("command", report.step, message, id=ended.command.id, detail=detail)
        if finished:
            report.restore_state()
        else:
            report.set_state("cancelled", message)
        return 130
    if rate is not None:
        learning_rate.set_peak(session, rate)
    with hardware_log.HardwareLog(session):
        state = loop.train(session)
    ranks.end()
    return _leave(session, state)


def _leave(session: Session, state: StateName) -> int:
    """Write the last state, `state`, and the adapter of a run; return the exit status."""
    from tui_trainer.engine import save_adapter
    from tui_trainer.engine.checkpoints import best, disk_space

    report, folder, step = session.report, session.folder, session.state.step
    if state == "cancelled" and not session.stopped_and_saved:
        report.set_state(
            "cancelled",
            f"cancelled at step {formats.count(step)}; nothing was saved since the last checkpoint",
        )
        return 130
    if state in ("completed", "early_stopped") and session.job.data.test is not None:
        from tui_trainer.engine.measure import final_test

        final_test.measure_test(session)
    if state == "completed":
        report.set_state(
            "completed",
            f"completed {formats.plural(step, 'step')}; the adapter is in {folder.adapter_dir}, "
            f"with the weights of {session.saved}",
        )
        return 0
    name = folder.path.name
    message = (
        f"stopped at step {formats.count(step)} and saved; resume with: tui-trainer resume {name}"
    )
    if state == "cancelled":
        report.set_state("saving", "writing the adapter")
        try:
            result = best.result_of(session)
            save_adapter.export_adapter(session, result)
            save_adapter.write_card(session, result)
        except disk_space.NoRoomError as error:  # the checkpoint, which was saved, has it too
            message = f"{message}; {error}"
    if session.saved:
        message = f"{message}; the adapter has the weights of {session.saved}"
    report.set_state(state, message)
    return 0


def join_processes(report: RunReporter) -> Ranks:
    """Connect to the other processes that train this run. Raises `UserError`."""
    process = process_rank()
    if process.size == 1:
        return Ranks()
    from tui_trainer.engine.distributed.process_group import ProcessGroup

    report.set_state("preparing", f"waiting for {process.size} training processes to connect")
    return ProcessGroup(process)


def _disk_error(error: OSError, folder: RunFolder) -> str:
    """Return one sentence about an error of the disk."""
    if not atomic.is_full(error):
        what = f"{error.filename} cannot be used" if error.filename else "a file cannot be used"
        return f"{what}: {error.strerror or error}"
    from tui_trainer.engine.checkpoints import disk_space

    return disk_space.full(folder.path, error, folder.path.name)


def _fail(report: RunReporter, message: str, **detail: Any) -> None:
    """End the run as `failed`; a resume that is refused before its first step restores the state
    before. `detail` is added to the event."""
    print(message, file=sys.stderr)  # noqa: T201
    if report.state_before is not None:
        report.refuse_resume(message, **detail)
        return
    report.event("error", report.step, message, detail=detail)
    report.set_state("failed", message)


if __name__ == "__main__":
    console.protect()
    sys.exit(main())
