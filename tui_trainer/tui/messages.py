"""The messages from threads and widgets to the screens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from textual.message import Message

if TYPE_CHECKING:
    from tui_trainer.contracts.hardware import HardwareSample
    from tui_trainer.launch.exit_report import EngineEnd
    from tui_trainer.store.runs.run_folder import RunFolder
    from tui_trainer.watch.snapshots import FolderView

Severity = Literal["information", "warning", "error"]


class FolderChanged(Message):
    """The watched folder changed; a newer snapshot replaces one that is still queued."""

    def __init__(self, view: FolderView) -> None:
        super().__init__()
        self.view = view

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, FolderChanged)


class HardwareSampled(Message):
    """The hardware was sampled."""

    def __init__(self, sample: HardwareSample) -> None:
        super().__init__()
        self.sample = sample

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, HardwareSampled)


class TerminalSignal(Message):
    """Bell and escape sequences for the terminal, which draw nothing."""

    def __init__(self, sequences: str) -> None:
        super().__init__()
        self.sequences = sequences


class NoticePosted(Message):
    """A notice for the user."""

    def __init__(self, text: str, severity: Severity = "information") -> None:
        super().__init__()
        self.text = text
        self.severity = severity


class EngineEnded(Message):
    """A training process has ended."""

    def __init__(self, end: EngineEnd) -> None:
        super().__init__()
        self.end = end


class RunMade(Message):
    """A run folder was created from the form."""

    def __init__(self, folder: RunFolder) -> None:
        super().__init__()
        self.folder = folder


class RunFailedToStart(Message):
    """No run folder could be created from the form."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class StopsAcknowledged(Message):
    """Every run that was asked to save and stop has acknowledged, or timed out."""


class ZoomRequested(Message):
    """The wheel was turned over a chart; `at` is the pointer's position on the x axis (0..1)."""

    def __init__(self, direction: int, at: float) -> None:
        super().__init__()
        self.direction = direction
        self.at = at


class ChartDragged(Message):
    """A chart was dragged by a `share` of its width."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share


class ChartClicked(Message):
    """A chart was clicked at `x`, in the units of its axis."""

    def __init__(self, x: float) -> None:
        super().__init__()
        self.x = x


class ChatNewsPosted(Message):
    """The session thread has news of the chat."""
