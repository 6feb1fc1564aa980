"""Protocol of the chat process: requests on its stdin, events on its stdout, one JSON line each.

Every request has an `id`, which the events about it repeat. Each request ends with exactly one
final event: the one named in its docstring, or `RequestFailed`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tui_trainer.contracts.chat.sampling import BaseSampling, Finish, RepetitionPenalty
from tui_trainer.contracts.job import Quantization
from tui_trainer.contracts.teaching.feedback import Turn

Source = Literal["base", "live", "adapter"]
Tokens = Annotated[int, Meta(ge=1)]


class AnswerRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag="answer"):
    """Answer a conversation; ends with `AnswerDone`."""

    id: str  # of the request
    turns: list[Turn]  # the conversation; the last turn is the user's
    max_new_tokens: Tokens  # most tokens of the answer
    temperature: Annotated[float, Meta(ge=0)] = 0.0  # of sampling; 0 is greedy
    # Probability (0..1) of the smallest set of tokens that is sampled from.
    top_p: Annotated[float, Meta(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Meta(ge=0)] = 0  # most probable tokens to sample from; 0: all
    repetition_penalty: RepetitionPenalty = 1.0
    seed: Annotated[int, Meta(ge=0)] | None = None  # of sampling; None: a random one


class BatchRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag="answers"):
    """Answer many questions greedily without changing the active adapters.

    Sends `RequestProgress` at least every second and ends with `BatchAnswered`.
    """

    id: str  # of the request
    questions: list[list[Turn]]  # conversations, each ending with the user's turn
    source: Source  # what answers: the base, the active adapters, or the adapter in `folder`
    folder: str | None = None  # of the adapter, if `source` is "adapter"
    max_new_tokens: Tokens  # most tokens of each answer


class UseRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag="use"):
    """Replace the active adapters; ends with `AdaptersUsed`. A refused request changes nothing."""

    id: str  # of the request
    adapters: dict[str, float]  # weight by name; empty: the base alone
    folders: dict[str, str]  # path of each adapter's folder, by name


class CheckRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag="check"):
    """Check that an adapter can be used on this base; ends with `AdapterChecked`."""

    id: str  # of the request
    folder: str  # of the adapter


class CompareRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag="compare"):
    """Compare the weight updates of two adapters; ends with `AdaptersCompared`."""

    id: str  # of the request
    a: str  # folder of the first adapter
    b: str  # folder of the second adapter


class MergeRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag="merge"):
    """Merge an adapter into the base and write the model; sends `RequestProgress` and ends with
    `AdaptersMerged`."""

    id: str  # of the request
    folder: str  # of the adapter
    out: str  # new or empty folder to write the model to


class CancelRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag="cancel"):
    """Cancel another request. An answer ends with the text generated so far, anything else with
    `RequestFailed`. A cancel request has no final event of its own."""

    id: str  # of this request
    target: str  # id of the request to cancel


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
    """Facts of an adapter whose files are complete and that fits the base."""

    folder: str  # of the adapter
    rank: int  # of its update
    alpha: float  # the update is scaled by alpha / rank
    layers: list[str]  # full names of the base's layers that it changes
    parameters: int  # how many numbers its weights have
    bytes: int  # size of its weights on disk
    base_model: str  # the base it was trained on: "builtin" or a folder
    base_hash: str | None  # SHA-256 of that base's files; None if unknown
    dora: bool = False  # whether it also learns each layer's magnitude (DoRA)


class LayerDifference(msgspec.Struct, frozen=True, kw_only=True):
    """How two adapters change one layer's weight."""

    layer: str  # full name in the base
    a: float  # Frobenius norm of the first adapter's update
    b: float  # Frobenius norm of the second adapter's update
    difference: float  # Frobenius norm of the difference of the updates
    cosine: float | None  # cosine similarity of the updates; None if one of them is 0


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """How the weight updates of two adapters differ."""

    whole: LayerDifference  # over all layers
    layers: list[LayerDifference]  # by layer, in the base's order


class Status(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="status"):
    """Progress of loading the base."""

    message: str  # what the process does now, a few words


class ModelReady(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="ready"):
    """The base is loaded; requests are answered from now on."""

    model: str  # as requested: "builtin", a folder or a Hugging Face id
    path: str | None  # folder of the base; None if it is not local
    base_hash: str | None  # SHA-256 of its configuration and weights; None if it is not local
    device: str  # as torch names it
    dtype: str  # of the weights that are not quantised, as torch names it
    quantization: Quantization = "none"  # of the linear layers
    context: int | None  # tokens of the context window; None if the base does not give it
    parameters: int  # how many numbers the base has
    chat_template: bool  # whether its tokenizer has a chat template
    threads: int  # of the CPU
    seconds: float  # that loading took
    notices: list[str] = []  # sentences about the base for the user
    sampling: BaseSampling = BaseSampling()  # that the base recommends


class AnswerPiece(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="piece"):
    """The next part of an answer."""

    id: str  # of the request
    text: str  # complete characters only


class AnswerDone(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="answered"):
    """A complete answer."""

    id: str  # of the request
    text: str  # all pieces together
    tokens: int  # generated
    seconds: float  # that generating took
    cancelled: bool  # whether it was cut short by a cancel request
    adapters: dict[str, float]  # weight by name of the adapters that were active
    prompt_tokens: int = 0  # tokens of the prompt
    dropped_turns: int = 0  # oldest turns left out so that the prompt fits
    finish: Finish = "end"  # why it ended


class RequestProgress(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="progress"):
    """Progress of a batch, in questions, or of a merge, in stages."""

    id: str  # of the request
    done: int  # questions or stages
    total: int  # questions or stages
    message: str = ""  # the present stage, a few words


class BatchAnswered(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="answers"):
    """The answers of a batch."""

    id: str  # of the request
    texts: list[str]  # answers, in the order of the questions


class AdaptersUsed(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="used"):
    """The active adapters were replaced."""

    id: str  # of the request
    adapters: dict[str, float]  # weight by name; empty: the base alone


class AdapterChecked(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="checked"):
    """The adapter can be used."""

    id: str  # of the request
    facts: AdapterFacts  # of the adapter


class AdaptersCompared(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="compared"
):
    """The result of comparing two adapters."""

    id: str  # of the request
    comparison: Comparison  # of the two adapters


class AdaptersMerged(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="merged"):
    """The merged model is written."""

    id: str  # of the request
    path: str  # folder of the merged model
    bytes: int  # its size on disk


class RequestFailed(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="failed"):
    """A request failed, or the base could not be loaded and the process exits."""

    id: str | None  # of the request; None: the base could not be loaded
    message: str  # the reason, one sentence
    exit_status: int = 1  # for a command that made the request


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
