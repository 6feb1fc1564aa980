"""Rows of data files after parsing: conversations, texts and labelled texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tui_trainer.contracts.runs.data_report import LeftOutRows, UnusedField
from tui_trainer.engine.data import known_fields


@dataclass(frozen=True)
class ToolCall:
    """A function that an assistant turn calls."""

    name: str  # of the function
    arguments: str  # a JSON object, as text
    id: str = ""  # which a tool turn repeats; empty: none


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: str  # system, user, assistant or tool
    content: str  # may be empty where an assistant turn has tool calls
    learned: bool = True  # for assistant turns: whether the turn counts in the loss
    tool_calls: tuple[ToolCall, ...] = ()  # of an assistant turn
    name: str = ""  # for tool turns: the function that answered; empty: unknown
    call_id: str = ""  # for tool turns: the call that is answered; empty: unknown

    def text(self) -> str:
        """Return the content after the role, and the calls."""
        calls = [f"{call.name}({call.arguments})" for call in self.tool_calls]
        return "\n".join([f"{self.role}: {self.content}", *calls])


@dataclass(frozen=True)
class Row:
    """One example before tokenising: a conversation, or a text, or a text with a label."""

    messages: tuple[Message, ...]  # the conversation's turns; empty for a text
    text: str | None  # learned whole, unless there is a label; None for a conversation
    weight: float  # factor of its loss
    where: str  # its file and line: `train.jsonl line 12`
    label: str | None = None  # the class to predict, in a classification
    group: str = ""  # rows with the same one teach the same answer; empty: unknown
    source_weight: float = 1.0  # how often it is used in an epoch, by data.train
    tools: str = ""  # definitions of the functions that can be called, a JSON list; empty: none

    def content(self, *, with_system: bool = True) -> str:
        """Return the whole text but the label, each turn after its role. Many rows may share the
        same system turn, which `with_system=False` leaves out."""
        if self.text is not None:
            return self.text
        turns = (t for t in self.messages if with_system or t.role != "system")
        return "\n".join([*(turn.text() for turn in turns), *([self.tools] if self.tools else [])])


@dataclass(frozen=True)
class ReadRows:
    """What was read from the files of one part, such as training or validation."""

    found: Sequence[Row]  # usable rows, in the order of the files
    left_out: list[LeftOutRows] = field(default_factory=list)  # by reason
    unused: list[UnusedField] = field(default_factory=list)  # known fields without use here
    columns: list[str] = field(default_factory=list)  # names of all other fields
    shapes: dict[str, int] = field(default_factory=dict)  # rows by recognised shape

    @property
    def empty(self) -> int:
        """Number of rows left out as empty."""
        return sum(item.rows for item in self.left_out if item.reason == known_fields.EMPTY)

    @property
    def total(self) -> int:
        """Number of all rows, with those left out."""
        return len(self.found) + sum(item.rows for item in self.left_out)
