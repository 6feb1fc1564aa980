"""Requests to the chat process; every call blocks until its result is there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal

import msgspec

from tui_trainer.chat.connection import ActiveAdapters, Connection, new_id
from tui_trainer.chat.process import serve_command
from tui_trainer.contracts.chat import (
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
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.feedback import Turn
from tui_trainer.contracts.sampling import Finish


class ModelAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer.

    tokens, seconds: how many were generated, in which time.
    cancelled: whether it was cut off by `cancel`.
    adapter: what was active: None for the base alone, a name, or `a=0.7 b=0.3`.
    adapters: the same by name, with weights.
    dropped_turns: oldest turns of the conversation that did not fit into the context.
    finish: why it ended.
    """

    text: str
    tokens: int
    seconds: float
    cancelled: bool
    adapter: str | None = None
    adapters: dict[str, float] = msgspec.field(default_factory=dict)
    dropped_turns: int = 0
    finish: Finish = "end"


class ChatClient:
    """One base model in a process of its own. Thread-safe.

    Every call starts the process if it does not run, also after a crash, and activates the
    adapters that were active. Every call may raise `UserError` with one sentence. An exception
    in a callback cancels the request that it belongs to, and is raised again.
    """

    def __init__(
        self,
        model: str = "builtin",
        *,
        trust_remote_code: bool = False,
        threads: int | None = None,
        on_status: Callable[[str], None] | None = None,
    ) -> None:
        """`threads` CPU threads, half of the CPUs by default. `on_status` gets the stage of
        loading in a few words, in the thread whose call started the process."""
        self.model = model
        self._link = Connection(
            serve_command(model, trust_remote_code=trust_remote_code, threads=threads),
            on_status or (lambda _: None),
        )
        self._lock = threading.Lock()
        self._answering: dict[str, bool] = {}  # id -> whether it is cancelled

    @property
    def facts(self) -> ModelReady | None:
        """Facts of the loaded base; None before it is loaded."""
        return self._link.facts

    @property
    def live(self) -> dict[str, float]:
        """The active adapters with their weights; without any it is the base alone."""
        return dict(self._link.live.adapters)

    @property
    def pid(self) -> int | None:
        """The id of the process while it runs, else None."""
        process = self._link.process
        return process.pid if process is not None and not process.over else None

    def start(self) -> ModelReady:
        """Starts the process unless it runs; returns when it is ready."""
        self._link.running()
        assert self._link.facts is not None  # noqa: S101
        return self._link.facts

    def close(self) -> None:
        """Ends the process; an answer that is being generated returns cancelled, anything
        else raises `UserError`."""
        self._link.close()

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
        """The answer to a conversation that ends with the user's turn.

        `on_token` gets its next whole characters as they come. Temperature 0 is greedy;
        otherwise tokens are drawn, from the `top_k` most probable (0 is all) and of them from the
        smallest set that has `top_p` of the probability.
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
            self._answering[request.id] = False
        try:
            return self._answer(request, on_token or (lambda _: None))
        finally:
            with self._lock:
                del self._answering[request.id]

    def _answer(self, request: AnswerRequest, on_token: Callable[[str], None]) -> ModelAnswer:
        process = self._link.running()
        with self._lock:
            cancelled = self._answering[request.id]
        if cancelled:  # while the base was being loaded
            return ModelAnswer(text="", tokens=0, seconds=0.0, cancelled=True, finish="cancelled")
        with closing(self._link.events(process, request)) as events:
            for event in events:
                if isinstance(event, AnswerPiece):
                    on_token(event.text)
                elif isinstance(event, AnswerDone):
                    return _as_answer(event)
        raise UserError("the chat process gave no answer", 1)

    def cancel(self) -> None:
        """Cancels every answer that waits or is being generated; each returns its text so far.
        May be called from any thread."""
        with self._lock:
            under_way = list(self._answering)
            self._answering = dict.fromkeys(under_way, True)
        process = self._link.process
        if process is not None:
            for request_id in under_way:
                process.send(CancelRequest(id=new_id(), target=request_id))

    def use(self, adapters: dict[str, float], folders: dict[str, Path]) -> None:
        """Activates these adapters (name -> weight) from the next answer on; without any it is
        the base alone, several are added with their weights. On an error nothing changes."""
        self._link.switch(ActiveAdapters(dict(adapters), dict(folders)))

    def answers(
        self,
        questions: Sequence[Sequence[Turn]],
        *,
        adapter: Path | Literal["live"] | None,
        max_new_tokens: int,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[str]:
        """Greedy answers to many questions by the base (None), the adapter in a folder, or the
        active adapters, which stay active; other calls are served meanwhile.

        `on_progress` gets how many of how many are answered, at least every second; it may
        raise to end the work early.
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
        return self._link.ask(request, BatchAnswered, lambda p: report(p.done, p.total)).texts

    def check(self, adapter: Path) -> AdapterFacts:
        """Facts of an adapter; raises `UserError` with the reason if it cannot be used."""
        request = CheckRequest(id=new_id(), folder=str(adapter.absolute()))
        return self._link.ask(request, AdapterChecked).facts

    def compare(self, a: Path, b: Path) -> Comparison:
        """Size and difference of the changes of two adapters, by layer."""
        request = CompareRequest(id=new_id(), a=str(a.absolute()), b=str(b.absolute()))
        return self._link.ask(request, AdaptersCompared).comparison

    def merge(
        self,
        adapter: Path,
        out: Path,
        *,
        on_progress: Callable[[str], None] | None = None,
    ) -> Path:
        """Merges base and adapter into a model in `out`, a new or empty folder.

        `on_progress` gets the stage in a few words.
        """
        out = out.expanduser().absolute()
        request = MergeRequest(id=new_id(), folder=str(adapter.absolute()), out=str(out))
        report = on_progress or (lambda _: None)
        return Path(self._link.ask(request, AdaptersMerged, lambda p: report(p.message)).path)


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
