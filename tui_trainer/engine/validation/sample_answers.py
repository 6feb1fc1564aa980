"""Answers of the model in training to the job's fixed prompts, at each evaluation."""

from __future__ import annotations

import time
from typing import Any

from tui_trainer.contracts.errors import is_out_of_memory
from tui_trainer.contracts.job import Job
from tui_trainer.contracts.runs.samples import SampleRecord
from tui_trainer.engine import recovery
from tui_trainer.engine.records import step_records
from tui_trainer.engine.state.session import Session
from tui_trainer.models.greedy_answers import SamplePrompts, answer_all, encode_prompts
from tui_trainer.text import formats


def sample_prompts(job: Job, causal: Any, tokenizer: Any) -> SamplePrompts | None:
    """Return the job's sample prompts as tokens; None where it has none. Raises `UserError` for one
    that the base cannot read."""
    if not job.samples.prompts or job.task != "causal-lm":
        return None
    return encode_prompts(causal, tokenizer, job.samples.prompts, job.samples.max_new_tokens)


def answer_samples(session: Session) -> None:
    """Answer the sample prompts, if the job has any, and append the answers to `samples.jsonl`.

    Random states are the same afterwards, so that training does not depend on it. Where memory runs
    out a warning is logged, and training continues.
    """
    prompts, state = session.sample_prompts, session.state
    if prompts is None:
        return
    step_records.flush(session)
    asked = formats.plural(len(prompts.texts), "sample prompt")
    session.report.set_state("evaluating", f"answering {asked} at step {formats.count(state.step)}")
    random = recovery.random_state(session)
    try:
        with session.autocast():
            answers = answer_all(session.model, session.tokenizer, prompts)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        message = f"out of memory: {asked} not answered; lower samples.max_new_tokens"
        session.report.event("warning", state.step, message)
        return
    finally:
        recovery.restore(session, random)
    now, epoch = time.time(), session.plan.epoch(state.step)
    session.report.samples(
        [
            SampleRecord(
                step=state.step,
                epoch=epoch,
                time=now,
                number=number,
                prompt=text,
                answer=answer.text,
                tokens=answer.tokens,
                finish=answer.finish,
            )
            for number, (text, answer) in enumerate(zip(prompts.texts, answers, strict=True))
        ]
    )
