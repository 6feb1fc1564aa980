"""The configuration file is changed without losing what the user wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.teaching.training import TeachingSettings
from tui_trainer.store import paths
from tui_trainer.store.settings import changed_setting, load_settings, save_setting

WRITTEN = """# mine
theme = "paper"  # light

[teaching]
epochs = 30  # enough
"""


def save(key: str, text: str) -> str:
    save_setting(key, changed_setting(load_settings().teaching, key, text))
    return paths.config_file().read_text("utf-8")


def test_comments_and_other_keys_stay() -> None:
    paths.config_file().write_text(WRITTEN)
    assert save("rank", "8") == WRITTEN + "rank = 8\n"
    assert save("epochs", "40") == WRITTEN.replace("30", "40") + "rank = 8\n"
    assert save("rank", "default") == WRITTEN.replace("30", "40")
    assert load_settings().theme == "paper"


def test_a_file_is_made_for_the_user_alone() -> None:
    assert save("learning_rate", "1e-3").split() == ["[teaching]", "learning_rate", "=", "0.001"]
    assert paths.config_file().stat().st_mode & 0o777 == 0o600
    assert load_settings().teaching.learning_rate == 1e-3


def test_a_default_needs_no_line() -> None:
    assert save("rank", str(TeachingSettings().rank)) == ""


def test_a_linked_file_stays_a_link(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.toml"
    real.write_text(WRITTEN)
    paths.config_file().symlink_to(real)
    save("rank", "8")
    assert paths.config_file().is_symlink()
    assert "rank = 8" in real.read_text()


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("rnk", "8", "unknown key rnk; did you mean rank?"),
        ("rank", "0", "rank: a whole number of at least 1 is needed, not 0"),
        ("rank", "2.5", "rank: a whole number of at least 1 is needed, not 2.5"),
        ("rank", "", 'rank: a whole number of at least 1 is needed, not ""'),
        ("min_kept", "1.1", "min_kept: a number of at least 0 and at most 1 is needed, not 1.1"),
        ("alpha", "inf", "must be a finite number"),
        ("alpha", "nan", "must be a finite number"),
    ],
)
def test_mistakes(key: str, text: str, expected: str) -> None:
    with pytest.raises(UserError) as caught:
        changed_setting(TeachingSettings(), key, text)
    assert expected in str(caught.value)
