"""A session that rates and teaches until it is killed: prints the id of each example as soon as
its rating is acknowledged.

Arguments: how many examples to rate in this life, the number of the first, and `fake` or
`builtin`: the model and the engine.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from tui_trainer.chat.client import ChatClient
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.teaching.feedback import RatedExample, Turn
from tui_trainer.contracts.teaching.training import TeachingSettings
from tui_trainer.store import paths
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.store.feedback.feedback_store import FeedbackStore
from tui_trainer.teaching.feedback_trainer import FeedbackTrainer

HERE = Path(__file__).parent
# Few steps: what is learned does not matter here, only whether it is learned once.
SETTINGS = TeachingSettings(
    auto_train_threshold=3,
    epochs=4,
    replay=4,
    min_recalled=0.0,
    min_kept=0.0,
    min_own_kept=0.0,
    max_new_tokens=16,
)


def fakes() -> ModuleType:
    """The tests' conftest, which holds the fake model."""
    spec = importlib.util.spec_from_file_location("fakes", HERE / "conftest.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Lives."""
    count, first, kind = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    runs_dir = paths.home() / "runs"
    runs_dir.mkdir(exist_ok=True)
    (runs_dir / "mood").write_text("complete")
    feedback, adapters = FeedbackStore(), AdapterStore()
    client: Any = ChatClient(threads=1) if kind == "builtin" else fakes().FakeClient({})
    client.delay = 0.03  # seconds; only the fake one has so little to do
    live = adapters.live()
    client.use(live, {name: adapters.folder(name) for name in live})
    trainer = FeedbackTrainer(
        client,
        feedback,
        adapters,
        settings=lambda: SETTINGS,
        runs_dir=runs_dir,
        command=None if kind == "builtin" else [sys.executable, "-P", str(HERE / "fake_engine.py")],
    )
    trainer.start()
    for number in range(first, first + count):
        turns = [Turn("user", f"What is thing {number}?")]
        example = RatedExample(
            id="", time=0.0, turns=turns, answer="?", rating="medium", correction=f"word {number}"
        )
        print(feedback.add(example).id, number, flush=True)
        trainer.wake()
        time.sleep(0.05)
    print("rated", flush=True)
    trainer.wait()
    try:
        trainer.train_now()
    except UserError as error:
        print(error, file=sys.stderr)
    trainer.wait()
    print("idle", flush=True)
    trainer.close()
    if isinstance(client, ChatClient):
        client.close()


if __name__ == "__main__":
    main()
