"""What the chat process is asked and what it says: one JSON line each, on stdin and stdout.

Every request has an `id`; every event about it carries the same. A request ends with exactly
one of its last events: the one named beside it, or `Failed`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tui_trainer.contracts.feedback import Turn
from tui_trainer.contracts.sampling import BaseSampling, Finish, RepetitionPenalty

Source = Literal["base", "live", "adapter"]
Tokens = Annotated[int, Meta(ge=1)]


class AnswerRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag="answer"):
    """Answer a conversation that ends with the user's turn; ends with `Answered`.

    Temperature 0 is greedy; otherwise tokens are drawn from the smallest set that holds
    `top_p` of the probability, the same for the same `seed`.
    """

    id: str
    turns: list[Turn]
    max_new_tokens: Tokens
    temperature: Annotated[float, Meta(ge=0)] = 0.0
    top_p: Annotated[float, Meta(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Meta(ge=0)] = 0  # most probable tokens sampled from; 0 is all
    repetition_penalty: RepetitionPenalty = 1.0
    seed: Annotated[int, Meta(ge=0)] | None = None


class BatchRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag="answers"):
    """Greedy answers to many questions, by the base, what is live, or the adapter in `folder`,
    without touching what is live; `Progress` at least every second, ends with
    `BatchAnswered`."""

    id: str
    questions: list[list[Turn]]
    source: Source
    folder: str | None = None
    max_new_tokens: Tokens


class UseRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag="use"):
    """Let these adapters (name -> weight; none is the base alone) answer from now on; ends
    with `Used`. `folders` says where each lies. Refused, nothing changes."""

    id: str
    adapters: dict[str, float]
    folders: dict[str, str]


class CheckRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag="check"):
    """Whether the adapter in `folder` can be used on this base; ends with `Checked`."""

    id: str
    folder: str


class CompareRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag="compare"):
    """How the changes of two adapters differ; ends with `Compared`."""

    id: str
    a: str
    b: str


class MergeRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag="merge"):
    """Write base and adapter as one plain model into the folder `out`; `Progress` in between,
    ends with `Merged`."""

    id: str
    folder: str
    out: str


class CancelRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag="cancel"):
    """End the request `target` early. An answer ends with what there is of it, anything else
    with `Failed`. It has no last event of its own."""

    id: str
    target: str


Request = (
    AnswerRequest
    | BatchRequest
    | UseRequest
    | CheckRequest
    | CompareRequest
    | MergeRequest
    | CancelRequest
)


class AdapterFacts(msgspec.Struct, frozen=True, kw_only=True):
    """An adapter that was read whole and fits: `parameters` counts its numbers, `bytes` its
    weights on disk; `layers` are the full names of the base's layers that it changes."""

    folder: str
    rank: int
    alpha: float
    layers: list[str]
    parameters: int
    bytes: int
    base_model: str
    base_hash: str | None
    dora: bool = False


class LayerDifference(msgspec.Struct, frozen=True, kw_only=True):
    """Frobenius norms of what `a` and `b` add to one layer's weight, and of what sets these
    apart; `cosine` is None where one of them adds nothing."""

    layer: str
    a: float
    b: float
    difference: float
    cosine: float | None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two adapters compared, over all layers (`whole`) and by layer in the base's order."""

    whole: LayerDifference
    layers: list[LayerDifference]


class Status(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="status"):
    """What the process does before it is ready, in a few words."""

    message: str


class ModelReady(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="ready"):
    """The base is loaded: `path` its folder if it is one, `base_hash` the SHA-256 of its
    configuration and weights, `context` the tokens it can read (None where it does not say),
    `parameters` how many numbers it has, `seconds` what loading took, `notices` sentences about
    the base for the user."""

    model: str
    path: str | None
    base_hash: str | None
    device: str
    dtype: str
    context: int | None
    parameters: int
    chat_template: bool
    threads: int
    seconds: float
    notices: list[str] = []
    sampling: BaseSampling = BaseSampling()  # that the base recommends


class AnswerPiece(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="piece"):
    """The next whole characters of an answer."""

    id: str
    text: str


class AnswerDone(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="answered"):
    """An answer: `text` is all its pieces; `tokens` were generated in `seconds` after a prompt
    of `prompt_tokens`, for which the oldest `dropped_turns` were left out. `adapters` made it."""

    id: str
    text: str
    tokens: int
    seconds: float
    cancelled: bool
    adapters: dict[str, float]
    prompt_tokens: int = 0
    dropped_turns: int = 0
    finish: Finish = "end"  # why it ended


class RequestProgress(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="progress"):
    """`done` of `total` questions or stages, and which stage it is."""

    id: str
    done: int
    total: int
    message: str = ""


class BatchAnswered(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="answers"):
    """The answers in the order of the questions."""

    id: str
    texts: list[str]


class AdaptersUsed(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="used"):
    """What is live now."""

    id: str
    adapters: dict[str, float]


class AdapterChecked(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="checked"):
    """The adapter can be used."""

    id: str
    facts: AdapterFacts


class AdaptersCompared(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="compared"
):
    """The comparison."""

    id: str
    comparison: Comparison


class AdaptersMerged(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="merged"):
    """The merged model lies in `path` and takes `bytes`."""

    id: str
    path: str
    bytes: int


class RequestFailed(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="failed"):
    """Why a request was not done, in one sentence; without an `id` the base could not be
    loaded and the process ends."""

    id: str | None
    message: str
    exit_status: int = 1


Event = (
    Status
    | ModelReady
    | AnswerPiece
    | AnswerDone
    | RequestProgress
    | BatchAnswered
    | AdaptersUsed
    | AdapterChecked
    | AdaptersCompared
    | AdaptersMerged
    | RequestFailed
)
