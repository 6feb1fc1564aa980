"""Client of the chat process: every call blocks until its result is there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal

import msgspec

from tui_trainer.chat.connection import ActiveAdapters, Connection, new_id
from tui_trainer.chat.process import serve_command
from tui_trainer.contracts.chat.protocol import (
    AdapterChecked,
    AdapterFacts,
    AdaptersCompared,
    AdaptersMerged,
    AnswerDone,
    AnswerPiece,
    AnswerRequest,
    BatchAnswered,
    BatchRequest,
    CancelRequest,
    CheckRequest,
    CompareRequest,
    Comparison,
    MergeRequest,
    ModelReady,
    Source,
)
from tui_trainer.contracts.chat.sampling import Finish
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Quantization
from tui_trainer.contracts.teaching.feedback import Turn


class ModelAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer of the model."""

    text: str  # of the answer
    tokens: int  # generated
    seconds: float  # that generating took
    cancelled: bool  # whether it was cut short by `cancel`
    adapter: str | None = None  # active adapter: None (the base alone), a name, or "a=0.7 b=0.3"
    adapters: dict[str, float] = msgspec.field(default_factory=dict)  # weight by name
    dropped_turns: int = 0  # oldest turns of the conversation left out so that the prompt fits
    finish: Finish = "end"  # why it ended


class ChatClient:
    """One base model in its own process. Thread-safe.

    Every call starts the process if it does not run, also after a crash, and then restores the
    active adapters. All methods raise `UserError`. An exception in a callback cancels its request
    and is raised again.
    """

    def __init__(
        self,
        model: str = "builtin",
        *,
        trust_remote_code: bool = False,
        threads: int | None = None,
        quantization: Quantization = "none",
        on_status: Callable[[str], None] | None = None,
    ) -> None:
        """`threads` is the number of CPU threads; default: half of the CPUs. `quantization` is how
        the base is held; `merge` uses its own weights all the same. `on_status` gets the progress
        of loading, a few words, in the thread whose call starts the process."""
        self.model = model
        self._connection = Connection(
            serve_command(
                model,
                trust_remote_code=trust_remote_code,
                threads=threads,
                quantization=quantization,
            ),
            on_status or (lambda _: None),
        )
        self._lock = threading.Lock()
        self._active_answers: dict[str, bool] = {}  # id -> whether it is cancelled

    @property
    def facts(self) -> ModelReady | None:
        """Facts of the loaded base; None before it is loaded."""
        return self._connection.facts

    @property
    def live(self) -> dict[str, float]:
        """Weights of the active adapters by name; empty: the base alone."""
        return dict(self._connection.live.adapters)

    @property
    def pid(self) -> int | None:
        """The process's id; None if it does not run."""
        process = self._connection.process
        return process.pid if process is not None and not process.ended else None

    def start(self) -> ModelReady:
        """Start the process if it does not run; returns when the base is loaded."""
        self._connection.ready_process()
        assert self._connection.facts is not None  # noqa: S101
        return self._connection.facts

    def close(self) -> None:
        """Stop the process. An answer in progress is returned as cancelled; any other request
        raises `UserError`."""
        self._connection.close()

    def __enter__(self) -> ChatClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def answer(
        self,
        turns: Sequence[Turn],
        *,
        max_new_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        top_k: int = 0,
        repetition_penalty: float = 1.0,
        seed: int | None = None,
        on_token: Callable[[str], None] | None = None,
    ) -> ModelAnswer:
        """Answer a conversation that ends with the user's turn.

        `on_token` gets the answer's next characters as they are generated. Temperature 0 is
        greedy; otherwise tokens are sampled from the `top_k` most probable (0: all), and of these
        from the smallest set with a probability of `top_p`.
        """
        request = AnswerRequest(
            id=new_id(),
            turns=list(turns),
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            repetition_penalty=repetition_penalty,
            seed=seed,
        )
        with self._lock:
            self._active_answers[request.id] = False
        try:
            return self._answer(request, on_token or (lambda _: None))
        finally:
            with self._lock:
                del self._active_answers[request.id]

    def _answer(self, request: AnswerRequest, on_token: Callable[[str], None]) -> ModelAnswer:
        process = self._connection.ready_process()
        with self._lock:
            cancelled = self._active_answers[request.id]
        if cancelled:  # during loading
            return ModelAnswer(text="", tokens=0, seconds=0.0, cancelled=True, finish="cancelled")
        with closing(self._connection.events(process, request)) as events:
            for event in events:
                if isinstance(event, AnswerPiece):
                    on_token(event.text)
                elif isinstance(event, AnswerDone):
                    return _as_answer(event)
        raise UserError("the chat process returned no answer; ask again", 1)

    def cancel(self) -> None:
        """Cancel all answers in progress or waiting; each returns the text generated so far."""
        with self._lock:
            requests = list(self._active_answers)
            self._active_answers = dict.fromkeys(requests, True)
        process = self._connection.process
        if process is not None:
            for request_id in requests:
                process.send(CancelRequest(id=new_id(), target=request_id))

    def use(self, adapters: dict[str, float], folders: dict[str, Path]) -> None:
        """Activate these adapters (weight by name) from the next answer on.

        Several are added with their weights; none is the base alone. If the process refuses them,
        the active adapters stay.
        """
        self._connection.switch(ActiveAdapters(dict(adapters), dict(folders)))

    def answers(
        self,
        questions: Sequence[Sequence[Turn]],
        *,
        adapter: Path | Literal["live"] | None,
        max_new_tokens: int,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[str]:
        """Answer many questions greedily with the base (None), the adapter in a folder, or the
        active adapters, which stay the same. Other calls are served meanwhile.

        `on_progress` gets the number of answered and of all questions, at least every second; an
        exception that it raises cancels the request.
        """
        if not questions:
            return []
        source: Source = "adapter"
        if not isinstance(adapter, Path):
            source = "base" if adapter is None else "live"
        request = BatchRequest(
            id=new_id(),
            questions=[list(turns) for turns in questions],
            source=source,
            folder=str(adapter.absolute()) if isinstance(adapter, Path) else None,
            max_new_tokens=max_new_tokens,
        )
        report = on_progress or (lambda _done, _total: None)
        return self._connection.ask(request, BatchAnswered, lambda p: report(p.done, p.total)).texts

    def check(self, adapter: Path) -> AdapterFacts:
        """Facts of an adapter; raises `UserError` with the reason if it cannot be used."""
        request = CheckRequest(id=new_id(), folder=str(adapter.absolute()))
        return self._connection.ask(request, AdapterChecked).facts

    def compare(self, a: Path, b: Path) -> Comparison:
        """Compare the weight updates of two adapters, layer by layer."""
        request = CompareRequest(id=new_id(), a=str(a.absolute()), b=str(b.absolute()))
        return self._connection.ask(request, AdaptersCompared).comparison

    def merge(
        self,
        adapter: Path,
        out: Path,
        *,
        on_progress: Callable[[str], None] | None = None,
    ) -> Path:
        """Merge an adapter into the base and write the model into `out`, a new or empty folder.

        `on_progress` gets the present stage, a few words.
        """
        out = out.expanduser().absolute()
        request = MergeRequest(id=new_id(), folder=str(adapter.absolute()), out=str(out))
        report = on_progress or (lambda _: None)
        return Path(self._connection.ask(request, AdaptersMerged, lambda p: report(p.message)).path)


def _as_answer(event: AnswerDone) -> ModelAnswer:
    names = list(event.adapters)
    mix = " ".join(f"{name}={weight:g}" for name, weight in event.adapters.items())
    single = len(names) == 1 and event.adapters[names[0]] == 1.0
    return ModelAnswer(
        text=event.text,
        tokens=event.tokens,
        seconds=event.seconds,
        cancelled=event.cancelled,
        adapter=names[0] if single else mix or None,
        adapters=event.adapters,
        dropped_turns=event.dropped_turns,
        finish=event.finish,
    )
