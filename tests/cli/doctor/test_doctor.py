"""`doctor`: true facts, and a repair for each missing thing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tui_trainer.cli import main
from tui_trainer.cli.doctor import diagnosis
from tui_trainer.cli.doctor.diagnosis import TerminalFacts, TorchFacts
from tui_trainer.contracts.hardware import GpuSample
from tui_trainer.hardware import pci_cards
from tui_trainer.hardware.system_info import SystemInfo, system_info

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def machine() -> SystemInfo:
    """This machine, with every package there."""
    facts = system_info()
    return msgspec.structs.replace(
        facts,
        gpus=[],
        gpu_cards=[],
        gpu_message="no NVIDIA driver",
        disk_free=9 << 30,
        packages={name: version or "1.0" for name, version in facts.packages.items()},
    )


TORCH = TorchFacts(version="2.9")
TERMINAL = TerminalFacts(
    is_terminal=True,
    kind="xterm",
    columns=80,
    lines=24,
    colours="16 million",
    encoding="utf-8",
    unicode=True,
)


def test_the_json_document_holds_every_section(
    train_extra: None, capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TUI_TRAINER_HOME", str(tmp_path))
    assert main.main(["doctor", "--json", "--runs-dir", str(tmp_path / "a" / "b")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["machine"]["python_path"] == sys.executable
    assert found["machine"]["disk_path"] == str(tmp_path)
    assert found["torch"]["version"] == found["machine"]["packages"]["torch"]
    assert found["torch"]["threads"] >= 1
    assert found["places"]["configuration"] == str(tmp_path / "config.toml")
    assert found["terminal"]["is_terminal"] is False
    assert all(item["what"] and item["repair"] for item in found["missing"])


def test_the_text_shows_the_same(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "ask_torch", lambda: TorchFacts(problem="not \x1b[1m there"))
    assert main.main(["doctor"]) == 0
    text = capsys.readouterr().out
    for title in ("hardware", "torch", "packages", "built-in base", "terminal", "paths"):
        assert f"{title}\n" in text
    assert "problem  not \\x1b[1m there" in text


def test_nothing_is_missing_where_all_is_there(machine: SystemInfo) -> None:
    assert diagnosis.find_missing(machine, TORCH, TERMINAL, base_present=True) == []


def test_each_missing_thing_has_its_repair(machine: SystemInfo) -> None:
    bare = msgspec.structs.replace(
        machine, packages=machine.packages | {"peft": None, "pyarrow": None}
    )
    poor = msgspec.structs.replace(TERMINAL, columns=60, colours="16", unicode=False)
    found = diagnosis.find_missing(bare, TORCH, poor, base_present=False)
    repairs = {item.what: item.repair for item in found}
    assert repairs["peft (needed to train)"] == 'pip install "tui-trainer[train]"'
    assert (
        repairs["pyarrow (reads .parquet, .arrow and .zst data)"]
        == 'pip install "tui-trainer[parquet]"'
    )
    assert repairs["a terminal of 80×24 cells"] == "enlarge the window"
    assert len(found) == 6


def test_a_gpu_that_torch_cannot_use_is_named(machine: SystemInfo) -> None:
    with_gpu = msgspec.structs.replace(machine, gpus=[GpuSample(index=0, name="H200")])
    (item,) = diagnosis.find_missing(with_gpu, TORCH, TERMINAL, base_present=True)
    assert item.what == "a torch that uses this GPU"
    used = msgspec.structs.replace(TORCH, cuda_available=True)
    assert diagnosis.find_missing(with_gpu, used, TERMINAL, base_present=True) == []


def test_a_torch_that_hangs_or_breaks_is_reported(
    train_extra: None, monkeypatch: pytest.MonkeyPatch, machine: SystemInfo
) -> None:
    monkeypatch.setattr(diagnosis, "_ASK_TORCH", "import time; time.sleep(600)")
    assert diagnosis.ask_torch(timeout=0.2).problem == "did not answer within 0.2 s"
    monkeypatch.setattr(diagnosis, "_ASK_TORCH", "raise ImportError('libcudart is gone')")
    broken = diagnosis.ask_torch()
    assert broken.problem == "cannot be imported: ImportError: libcudart is gone"
    (item,) = diagnosis.find_missing(machine, broken, TERMINAL, base_present=True)
    assert item.repair == 'pip install "tui-trainer[train]" --force-reinstall'


def missing(machine: SystemInfo, torch: TorchFacts = TORCH, **changes: Any) -> dict[str, str]:
    changed = msgspec.structs.replace(machine, **changes)
    found = diagnosis.find_missing(changed, torch, TERMINAL, base_present=True)
    return {item.what: item.repair for item in found}


H200 = GpuSample(index=0, vendor="NVIDIA", name="NVIDIA H200")
ON_GPU = TorchFacts(
    version="2.9",
    cuda_build="13.0",
    built_for_cuda=True,
    cuda_available=True,
    bf16=True,
    devices=[{"name": "NVIDIA H200", "memory": 139 << 30}],
)


def test_a_card_without_a_driver_is_named_with_the_command(machine: SystemInfo) -> None:
    found = missing(machine, gpu_cards=["NVIDIA"])
    (repair,) = (r for what, r in found.items() if what.startswith("a driver for the NVIDIA card"))
    assert "sudo ubuntu-drivers install" in repair
    mismatch = "NVIDIA driver and library differ in version; reboot"
    found = missing(machine, gpu_cards=["NVIDIA"], gpu_message=mismatch)
    assert found == {"an NVIDIA driver as new as its library": "sudo reboot"}
    assert missing(machine, gpu_cards=["AMD"]).popitem()[1] == "pip install /opt/rocm/share/amd_smi"


def test_a_driver_too_old_for_torch_and_a_lost_gpu(machine: SystemInfo) -> None:
    (what,) = missing(machine, ON_GPU, gpus=[H200], cuda_version="12.4")
    assert what == "a driver for torch's CUDA 13.0 (the installed one supports up to 12.4)"
    assert missing(machine, ON_GPU, gpus=[H200], cuda_version="13.0") == {}
    lost = GpuSample(index=3, vendor="NVIDIA", problem="GPU is lost")
    found = missing(machine, ON_GPU, gpus=[H200, lost])
    assert found == {"GPU 3: GPU is lost": "sudo nvidia-smi --gpu-reset -i 3, else sudo reboot"}


def test_a_full_disk_is_missing_room(machine: SystemInfo) -> None:
    (what,) = missing(machine, disk_free=1 << 29)
    assert what.startswith("disk space (512 MiB free at ")


def test_an_apple_gpu_needs_no_cuda(machine: SystemInfo) -> None:
    apple = GpuSample(index=0, vendor="Apple", name="Apple GPU", unified=True)
    assert missing(machine, msgspec.structs.replace(TORCH, mps_available=True), gpus=[apple]) == {}


def test_what_training_will_use(machine: SystemInfo) -> None:
    on_gpu = diagnosis.training_facts(machine, ON_GPU)
    assert on_gpu["device"] == "NVIDIA H200, 139 GiB"
    assert on_gpu["training.precision"] == "bf16 or fp32"
    assert diagnosis.training_facts(machine, TORCH)["device"] == "CPU"
    broken = diagnosis.training_facts(machine, TorchFacts(problem="not installed"))
    assert broken == {"device": "none: torch not installed"}


def test_cards_on_the_bus(tmp_path: Path) -> None:
    listed = (("0", "0x10de", "0x030200"), ("1", "0x10de", "0x040300"), ("2", "0x1002", "0x038000"))
    for name, vendor, kind in listed:
        (tmp_path / name).mkdir()
        (tmp_path / name / "vendor").write_text(vendor + "\n")
        (tmp_path / name / "class").write_text(kind + "\n")
    assert pci_cards.installed_cards(tmp_path) == ["NVIDIA", "AMD"]
    assert pci_cards.installed_cards(tmp_path / "absent") == []
