"""Executes the requests to the chat process."""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch

from tui_trainer.contracts.chat.protocol import (
    AdapterChecked,
    AdaptersCompared,
    AdaptersMerged,
    AdaptersUsed,
    AnswerDone,
    AnswerPiece,
    AnswerRequest,
    BatchAnswered,
    BatchRequest,
    CheckRequest,
    CompareRequest,
    Event,
    MergeRequest,
    ModelReady,
    Request,
    RequestProgress,
    Status,
    UseRequest,
)
from tui_trainer.contracts.chat.sampling import BaseSampling
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Quantization
from tui_trainer.models import base_model as bases
from tui_trainer.models import lora_compare, lora_load, lora_merge
from tui_trainer.models.base_identity import origin_of
from tui_trainer.models.completeness import notices
from tui_trainer.models.serving.adapter_pool import BASE_ALONE, AdapterPool, Mix
from tui_trainer.models.serving.generate import TextGenerator
from tui_trainer.models.serving.load_generator import Form, load_generator
from tui_trainer.models.serving.server_state import ServerState
from tui_trainer.models.serving.token_choice import Sampling
from tui_trainer.store import job_checks

# Longest time between two `RequestProgress` events while many questions are answered.
PROGRESS_SECONDS = 0.5


class Service:
    """The base with its adapters. `handle` is called by the main thread, `handle_files` by
    another: it does not use the model."""

    def __init__(
        self,
        facts: ModelReady,
        state: ServerState,
        generator: TextGenerator,
        base: lora_load.Base,
        *,
        trusted: bool,
    ) -> None:
        self.facts = facts
        self._state = state
        self._generator = generator
        self._base = base
        self._trusted = trusted
        self._adapters = AdapterPool(generator.model, base, generator.decoder)
        self._live: Mix = BASE_ALONE
        self._live_weights: dict[str, float] = {}

    def handle(self, request: Request) -> Event:
        """Executes a request that needs the model. Raises `UserError`."""
        if isinstance(request, AnswerRequest):
            return self._answer(request)
        if isinstance(request, BatchRequest):
            return self._answer_many(request)
        if isinstance(request, UseRequest):
            return self._use(request)
        raise TypeError(type(request).__name__)

    def handle_files(self, request: Request) -> Event:
        """Executes a request that only needs the files of adapters. Raises `UserError`."""
        if isinstance(request, CheckRequest):
            return AdapterChecked(
                id=request.id, facts=lora_load.read(Path(request.folder), self._base).facts
            )
        if isinstance(request, CompareRequest):
            a, b = (lora_load.read(Path(folder), self._base) for folder in (request.a, request.b))
            return AdaptersCompared(
                id=request.id, comparison=lora_compare.compare(self._base, a, b)
            )
        if isinstance(request, MergeRequest):
            return self._merge(request)
        raise TypeError(type(request).__name__)

    def _answer(self, request: AnswerRequest) -> Event:
        prompt = self._generator.fit(request.turns, request.max_new_tokens)
        self._adapters.activate(self._live)
        answer = self._generator.write(
            prompt,
            Sampling(
                temperature=request.temperature,
                top_p=request.top_p,
                top_k=request.top_k,
                repetition_penalty=request.repetition_penalty,
                seed=request.seed,
            ),
            lambda text: self._state.wire.send(AnswerPiece(id=request.id, text=text)),
            lambda: self._state.model_requests.cancelled(request.id),
        )
        return AnswerDone(
            id=request.id,
            text=answer.text,
            tokens=answer.tokens,
            seconds=answer.seconds,
            cancelled=answer.finish == "cancelled",
            adapters=self._live_weights,
            prompt_tokens=len(prompt.input_ids),
            dropped_turns=prompt.dropped_turns,
            finish=answer.finish,
        )

    def _answer_many(self, request: BatchRequest) -> Event:
        prompts = [self._generator.fit(t, request.max_new_tokens) for t in request.questions]
        mix = self._acquire_for(request)
        reported, reported_at = -1, 0.0

        def between(finished: int) -> bool:
            nonlocal reported, reported_at
            if finished != reported or time.monotonic() - reported_at > PROGRESS_SECONDS:
                reported, reported_at = finished, time.monotonic()
                self._state.wire.send(
                    RequestProgress(id=request.id, done=finished, total=len(prompts))
                )
            while (other := self._state.model_requests.next_quick()) is not None:
                self._state.perform(self._state.model_requests, other, self.handle)
            self._adapters.activate(mix)
            return self._state.model_requests.cancelled(request.id)

        try:
            self._adapters.activate(mix)
            texts = self._generator.write_many(prompts, between)
        finally:
            self._adapters.release(mix)
        if texts is None:
            raise UserError("cancelled", 130)
        return BatchAnswered(id=request.id, texts=texts)

    def _acquire_for(self, request: BatchRequest) -> Mix:
        """The mix of a batch, acquired for it: what is live may be switched meanwhile."""
        if request.source == "adapter" and request.folder is not None:
            return self._adapters.acquire([(Path(request.folder), 1.0)])
        return self._adapters.acquire_again(self._live if request.source == "live" else BASE_ALONE)

    def _use(self, request: UseRequest) -> Event:
        lacking = next((name for name in request.adapters if name not in request.folders), None)
        if lacking is not None:
            raise UserError(f"the request does not name the folder of adapter {lacking}")
        wanted = [(Path(request.folders[name]), w) for name, w in request.adapters.items()]
        mix = self._adapters.acquire(wanted)
        self._adapters.activate(mix)
        self._adapters.release(self._live)
        self._live, self._live_weights = mix, dict(request.adapters)
        return AdaptersUsed(id=request.id, adapters=self._live_weights)

    def _merge(self, request: MergeRequest) -> Event:
        def on_stage(done: int) -> None:
            if self._state.file_requests.cancelled(request.id):
                raise UserError("cancelled", 130)
            total = len(lora_merge.STAGES)
            message = lora_merge.STAGES[done] if done < total else "done"
            if done == 0 and self.facts.quantization != "none":
                message += " unquantised"
            self._state.wire.send(
                RequestProgress(id=request.id, done=done, total=total, message=message)
            )

        out = Path(request.out)
        size = lora_merge.merge(
            self._base,
            Path(request.folder),
            out,
            trust_remote_code=self._trusted,
            on_stage=on_stage,
        )
        return AdaptersMerged(id=request.id, path=str(out), bytes=size)


def load_service(
    model: str,
    state: ServerState,
    *,
    trust_remote_code: bool,
    threads: int | None,
    quantization: Quantization = "none",
) -> Service:
    """Loads the base in the precision that suits the device, and in a smaller form where memory
    runs out. Raises `UserError`."""
    problem = job_checks.quantization_problem("chat.quantization", quantization)
    if problem is not None:
        raise UserError(problem)
    began = time.perf_counter()
    torch.set_num_threads(threads or _default_threads())
    device = bases.pick_device()
    tokenizer = bases.load_tokenizer(model, trust_remote_code=trust_remote_code)
    state.wire.send(Status(message="checking the base"))
    origin = origin_of(model)
    state.wire.send(Status(message=f"loading {model}"))
    loaded = load_generator(
        origin,
        tokenizer,
        device,
        Form(bases.fast_precision(model, device), quantization),
        trust_remote_code=trust_remote_code,
        on_status=lambda text: state.wire.send(Status(message=text)),
    )
    generator = loaded.generator
    base = lora_load.describe(generator.model, origin)
    facts = ModelReady(
        model=model,
        path=str(base.origin.folder) if base.origin.folder else None,
        base_hash=base.origin.hash,
        device=str(device),
        dtype=str(generator.model.dtype).removeprefix("torch."),
        quantization=loaded.form.quantization,
        context=generator.context,
        parameters=sum(map(bases.parameter_count, generator.model.parameters())),
        chat_template=bool(tokenizer.chat_template),
        threads=torch.get_num_threads(),
        seconds=time.perf_counter() - began,
        notices=[*notices(generator.model), *loaded.notices],
        sampling=_recommended(generator.base_sampling),
    )
    return Service(facts, state, generator, base, trusted=trust_remote_code)


def _recommended(sampling: Sampling) -> BaseSampling:
    return BaseSampling(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        repetition_penalty=sampling.repetition_penalty,
    )


def _default_threads() -> int:
    """Half of the usable CPUs: more add little to writing one answer, and a training may run."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (usable or 1) // 2)
