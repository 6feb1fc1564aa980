"""Answers to the fixed prompts of a run: the lines of `samples.jsonl`."""

from __future__ import annotations

from typing import Literal

import msgspec

SampleFinish = Literal["end", "length"]


class SampleRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one prompt at one evaluation: a line of `samples.jsonl`.

    An evaluation appends one line per prompt, in the order of the job, all with the same `step`
    and `time`. As in `metrics.jsonl`, lines are only appended: after a resume or a rollback to an
    earlier step, the later steps' lines do not count any more (`watch.runs.sample_answers`).
    """

    step: int  # optimizer steps finished; 0: before training
    epoch: float  # passes over the training data so far
    time: float  # when the answers were complete, seconds since the epoch
    number: int  # of the prompt in the job, from 0
    prompt: str  # the user's turn
    answer: str  # without special tokens
    tokens: int  # of the answer, its end token included
    finish: SampleFinish  # "end": an end token; "length": samples.max_new_tokens
