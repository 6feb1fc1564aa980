"""A real Lightning `Trainer`, where it is installed; and one sentence where it is not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tui_trainer.store.runs.run_folder import RunFolder

BLOCKED = """
import sys
for name in {blocked!r}:
    sys.modules[name] = None
try:
    import tui_trainer.integrations.{module}
except ImportError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("module", "blocked"),
    [
        ("transformers", ("transformers",)),
        ("lightning", ("lightning", "pytorch_lightning")),
    ],
)
def test_a_missing_package_is_one_sentence(module: str, blocked: tuple[str, ...]) -> None:
    script = BLOCKED.format(blocked=blocked, module=module)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert len(done.stdout.splitlines()) == 1
    assert "install it with: pip install" in done.stdout


def test_a_lightning_trainer_is_recorded(tmp_path: Path) -> None:
    lightning: Any = pytest.importorskip("lightning")
    import torch

    from tui_trainer.integrations.lightning import TuiTrainerLogger

    class Module(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self, width: int = 4) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.layer = torch.nn.Linear(width, 1)

        def training_step(self, batch: Any, index: int) -> Any:
            loss = self.layer(batch[0]).pow(2).mean()
            self.log("train_loss", loss)
            return loss

        def validation_step(self, batch: Any, index: int) -> None:
            self.log("val_loss", self.layer(batch[0]).pow(2).mean())

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    rows = torch.utils.data.TensorDataset(torch.randn(16, 4))
    loader = torch.utils.data.DataLoader(rows, 4)
    logger = TuiTrainerLogger(tmp_path / "runs", "mine", total_steps=8, hardware=False)
    trainer = lightning.Trainer(
        max_epochs=2,
        logger=logger,
        log_every_n_steps=1,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path / "out",
    )
    trainer.fit(Module(), loader, loader)
    (path,) = (tmp_path / "runs").iterdir()
    folder = RunFolder(path)
    lines = [json.loads(line) for line in folder.metrics_file.read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "train"] == list(range(1, 9))
    assert [line["step"] for line in lines if "val_loss" in line] == [4, 8]
    info = folder.loop_info()
    assert info is not None
    assert (info.program, info.config["width"]) == ("Lightning", 4)
    assert folder.status() == "completed"
    assert [event.step for event in folder.events() if event.kind == "checkpoint"] == [4, 8]
