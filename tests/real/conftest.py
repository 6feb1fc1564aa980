"""Real models as fixtures; a test that needs one is skipped where it cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.real.prepare import PrepareError, folder_of, is_ready, prepare

_FAILED: dict[str, str] = {}  # why a model cannot be had, by name: it is tried once


def _model(name: str) -> Path:
    if is_ready(name):
        return folder_of(name)
    if name not in _FAILED:
        try:
            return prepare(name)
        except PrepareError as error:
            _FAILED[name] = str(error)
    pytest.skip(f"the real model {name} cannot be had: {_FAILED[name]}")


@pytest.fixture(scope="session")
def smollm2(train_extra: None) -> Path:
    """The folder of SmolLM2-135M-Instruct, in fp32."""
    return _model("smollm2")


@pytest.fixture(scope="session")
def minilm(train_extra: None) -> Path:
    """The folder of all-MiniLM-L6-v2."""
    return _model("minilm")
