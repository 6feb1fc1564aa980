"""Palettes: complete, readable, and never fatal."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tui_trainer.contracts.errors import UserError
from tui_trainer.store import paths
from tui_trainer.tui import themes
from tui_trainer.tui.themes import ThemeFile

SHIPPED = themes.load_themes(paths.themes()[:1])
TEXTS = ("text", "faint", "accent", "good", "caution", "bad")
GROUNDS = ("background", "surface", "raised")


def test_shipped_themes() -> None:
    assert SHIPPED.problems == ()
    assert {"harbour", "paper", "contrast", "clarity"} <= SHIPPED.files.keys()
    assert len(SHIPPED.files) >= 7
    assert sum(not file.dark for file in SHIPPED.files.values()) >= 2


@pytest.mark.parametrize("file", SHIPPED.files.values(), ids=lambda file: file.name)
def test_every_text_can_be_read_on_every_ground(file: ThemeFile) -> None:
    least = 7.0 if file.name == "contrast" else 4.5
    colours = file.colours
    for text in TEXTS:
        for ground in GROUNDS:
            ratio = themes.contrast(getattr(colours, text), getattr(colours, ground))
            assert ratio >= least, f"{file.name}: {text} on {ground} is {ratio:.2f}"


@pytest.mark.parametrize("file", SHIPPED.files.values(), ids=lambda file: file.name)
def test_lines_are_readable_and_raw_ones_fainter(file: ThemeFile) -> None:
    colours = file.colours
    assert len(colours.series) >= 6 and len(set(colours.series)) == len(colours.series)
    for colour in colours.series:
        assert min(themes.contrast(colour, g) for g in (colours.surface, colours.raised)) >= 3
    palette = themes.chart_palette(file)
    raw, smooth = palette.raw.color, palette.smooth.color
    assert raw is not None and smooth is not None
    faint = themes.contrast(raw.get_truecolor().hex, colours.surface)
    assert 1.6 <= faint < themes.contrast(smooth.get_truecolor().hex, colours.surface)


@pytest.mark.parametrize("file", SHIPPED.files.values(), ids=lambda file: file.name)
def test_areas_differ_by_their_ground(file: ThemeFile) -> None:
    colours = file.colours
    assert themes.contrast(colours.background, colours.surface) >= 1.05
    assert themes.contrast(colours.surface, colours.raised) >= 1.05


def test_contrast_of_black_and_white() -> None:
    assert themes.contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert themes.contrast("#777777", "#777777") == pytest.approx(1.0)


def write(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / f"{name}.toml"
    file.write_text(text)
    return file


def sample(name: str, **changed: str) -> str:
    lines = [f'name = "{name}"', "dark = true", "[colours]"]
    for role in themes.ROLES:
        lines.append(f'{role} = "{changed.get(role, "#808080")}"')
    series = changed.get("series", '["#ffffff"]')
    lines.append(f"series = {series}")
    return "\n".join(lines)


def test_user_wins_and_broken_files_are_named(tmp_path: Path) -> None:
    shipped, own = tmp_path / "shipped", tmp_path / "own"
    write(shipped, "harbour", sample("harbour"))
    write(own, "mine", sample("harbour", accent="#123456"))
    write(own, "broken", "name = ")
    found = themes.load_themes([shipped, own, tmp_path / "absent"])
    assert found.files["harbour"].colours.accent == "#123456"
    assert len(found.problems) == 1 and "broken.toml" in found.problems[0]


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        (sample("x", bad="reddish"), 'x.toml, line 12: colours.bad: "reddish" is not a colour'),
        (sample("x", series='["#ffffff", "nope"]'), 'line 13: colours.series[1]: "nope"'),
        (sample("x", series="[]"), "at least one colour"),
        (sample("x").replace("accent", "acent"), "did you mean colours.accent?"),
        (sample("x").replace("dark = true", 'dark = "yes"'), "dark"),
    ],
)
def test_one_sentence_for_each_mistake(tmp_path: Path, text: str, messages: str) -> None:
    file = write(tmp_path, "x", text)
    with pytest.raises(UserError, match=r"x\.toml") as error:
        themes.read_theme(file)
    assert messages in str(error.value)


def test_there_is_always_a_theme(tmp_path: Path) -> None:
    assert list(themes.load_themes([tmp_path]).files) == [themes.FALLBACK.name]


@pytest.mark.parametrize(
    "text",
    [
        f"name = {'9' * 5000}\n",
        sample("x", bad=f"rgb({'9' * 5000},1,1)"),
        "name = " + "[" * 50_000,
        "\x00",
    ],
    ids=["digits", "colour", "nested", "control character"],
)
def test_a_theme_that_cannot_be_read_is_skipped_alone(tmp_path: Path, text: str) -> None:
    write(tmp_path, "a", text)
    write(tmp_path, "b", sample("good"))
    found = themes.load_themes([tmp_path])
    assert list(found.files) == ["good"]
    (problem,) = found.problems
    assert problem.startswith("theme skipped: ") and "a.toml" in problem and len(problem) < 400


def test_a_theme_that_is_a_pipe_or_a_folder_is_skipped(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.toml")
    (tmp_path / "b.toml").mkdir()
    found = themes.load_themes([tmp_path])
    assert [problem.rpartition("/")[2] for problem in found.problems] == [
        "a.toml is not a file",
        "b.toml is not a file",
    ]


def test_a_theme_of_the_settings_that_is_not_there_is_named() -> None:
    paths.config_file().write_text('# mine\ntheme = "harbor"\n')
    (problem,) = themes.name_problems("harbor", SHIPPED)
    assert problem.endswith(
        'config.toml, line 2: theme: there is no theme "harbor"; did you mean "harbour"?'
    )
    assert themes.name_problems("harbour", SHIPPED) == ()
    (problem,) = themes.name_problems("zzz", SHIPPED)
    assert "; there are clarity, contrast, " in problem
