"""Records any training loop as a run: `from tui_trainer.writer import RunWriter`."""

from tui_trainer.writer.run_writer import RunWriter

__all__ = ["RunWriter"]
