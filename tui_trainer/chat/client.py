"""Speaking with the model: every call blocks until its answer is there."""

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


class ModelAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What the model said: `tokens` generated in `seconds`. `adapter` names what said it:
    None for the base alone, one name, or `a=0.7 b=0.3`. `dropped_turns` of the conversation
    were too old to fit."""

    text: str
    tokens: int
    seconds: float
    cancelled: bool
    adapter: str | None = None
    adapters: dict[str, float] = msgspec.field(default_factory=dict)
    dropped_turns: int = 0


class ChatClient:
    """One base model in a process of its own; for several threads at once.

    Every call starts the process if it is not there, also after a crash, and then gives it
    again what was live. Everything raises `UserError` with one sentence. An exception in a
    callback ends the request that it belongs to, and is passed on.
    """

    def __init__(
        self,
        model: str = "builtin",
        *,
        trust_remote_code: bool = False,
        threads: int | None = None,
        on_status: Callable[[str], None] | None = None,
    ) -> None:
        """`threads` CPU threads, half of the CPUs by default. `on_status` gets a few words
        about what loading does, from the thread whose call started the process."""
        self.model = model
        self._link = Connection(
            serve_command(model, trust_remote_code=trust_remote_code, threads=threads),
            on_status or (lambda _: None),
        )
        self._lock = threading.Lock()
        self._answering: dict[str, bool] = {}  # id -> whether it is cancelled

    @property
    def facts(self) -> ModelReady | None:
        """What the loaded base is; None before it was loaded."""
        return self._link.facts

    @property
    def live(self) -> dict[str, float]:
        """The adapters that answer, with their weights; none is the base alone."""
        return dict(self._link.live.adapters)

    @property
    def pid(self) -> int | None:
        """The process's id while it is there."""
        process = self._link.process
        return process.pid if process is not None and not process.over else None

    def start(self) -> ModelReady:
        """Starts the process, or does nothing where it is there; returns when it is ready."""
        self._link.running()
        assert self._link.facts is not None  # noqa: S101
        return self._link.facts

    def close(self) -> None:
        """Ends the process; an answer under way comes back cancelled, anything else ends with
        a `UserError`."""
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
        seed: int | None = None,
        on_token: Callable[[str], None] | None = None,
    ) -> ModelAnswer:
        """The answer to a conversation that ends with the user's turn.

        `on_token` gets its next whole characters as they come. Temperature 0 is greedy;
        otherwise tokens are drawn from the likeliest that make up `top_p` of the probability.
        """
        request = AnswerRequest(
            id=new_id(),
            turns=list(turns),
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
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
        if cancelled:  # while the base was loaded
            return ModelAnswer(text="", tokens=0, seconds=0.0, cancelled=True)
        with closing(self._link.events(process, request)) as events:
            for event in events:
                if isinstance(event, AnswerPiece):
                    on_token(event.text)
                elif isinstance(event, AnswerDone):
                    return _as_answer(event)
        raise UserError("the chat process gave no answer", 1)

    def cancel(self) -> None:
        """Ends every answer under way, also one that still waits; each returns what there is
        of it. From any thread."""
        with self._lock:
            under_way = list(self._answering)
            self._answering = dict.fromkeys(under_way, True)
        process = self._link.process
        if process is not None:
            for request_id in under_way:
                process.send(CancelRequest(id=new_id(), target=request_id))

    def use(self, adapters: dict[str, float], folders: dict[str, Path]) -> None:
        """Lets these adapters (name -> weight) answer from the next answer on; none is the
        base alone, several their exact weighted sum. Refused, nothing changes."""
        self._link.switch(ActiveAdapters(dict(adapters), dict(folders)))

    def answers(
        self,
        questions: Sequence[Sequence[Turn]],
        *,
        adapter: Path | Literal["live"] | None,
        max_new_tokens: int,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[str]:
        """Greedy answers to many questions by the base (None), an adapter's folder, or what is
        live, which is not disturbed; other calls are served meanwhile.

        `on_progress` gets how many of how many are answered, at least every second; to end the
        work early, let it raise.
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
        """An adapter's facts; raises `UserError` with the reason where it cannot be used."""
        request = CheckRequest(id=new_id(), folder=str(adapter.absolute()))
        return self._link.ask(request, AdapterChecked).facts

    def compare(self, a: Path, b: Path) -> Comparison:
        """How large the changes of two adapters are, layer by layer, and how far apart."""
        request = CompareRequest(id=new_id(), a=str(a.absolute()), b=str(b.absolute()))
        return self._link.ask(request, AdaptersCompared).comparison

    def merge(
        self,
        adapter: Path,
        out: Path,
        *,
        on_progress: Callable[[str], None] | None = None,
    ) -> Path:
        """Writes base and adapter as one plain model into `out`, a new or empty folder.

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
    )
