"""Creates a session on the real model, trainer and stores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tui_trainer.chat.client import ChatClient
from tui_trainer.contracts.chat.sampling import ChatSettings
from tui_trainer.contracts.chat.session import Event
from tui_trainer.contracts.teaching.training import TeachingSettings, TrainingNews
from tui_trainer.repl.session import ChatSession
from tui_trainer.store import jobs
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.store.feedback.conversations import ConversationStore
from tui_trainer.store.feedback.feedback_store import FeedbackStore
from tui_trainer.teaching.feedback_trainer import FeedbackTrainer


def open_session(
    model: str,
    *,
    settings: TeachingSettings,
    runs_dir: Path,
    emit: Callable[[Event], None],
    on_status: Callable[[str], None] | None = None,
    trust_remote_code: bool = False,
    chat: ChatSettings | None = None,
) -> ChatSession:
    """Create a session on the user's own stores, not yet started.

    `model` is the built-in base, a folder or a Hugging Face id; `emit` may be called from any
    thread, and `on_status` receives the progress of loading. Raises `UserError` where `model` is a
    folder without a model.
    """
    base = jobs.resolve_model(model, Path.cwd(), "--model")
    client = ChatClient(
        base,
        trust_remote_code=trust_remote_code,
        quantization=(chat or ChatSettings()).quantization,
        on_status=on_status,
    )
    feedback, adapters = FeedbackStore(), AdapterStore()

    def changed(news: TrainingNews) -> None:  # the session is created after its trainer
        session.training_changed(news)

    trainer = FeedbackTrainer(
        client,
        feedback,
        adapters,
        settings=lambda: session.settings,
        runs_dir=runs_dir.absolute(),
        on_change=changed,
        trust_remote_code=trust_remote_code,
    )
    session = ChatSession(
        client, trainer, feedback, adapters, ConversationStore(), settings, emit, chat
    )
    return session
