"""Colour themes: one TOML file each, with the colours named by their meaning.

A file that cannot be used is skipped with a message; the app always starts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from rich.style import Style
from textual.color import Color, ColorParseError
from textual.theme import Theme

from tui_trainer.contracts.errors import BAD_CONTENT, UserError, reason_of
from tui_trainer.store import paths
from tui_trainer.store.settings import about
from tui_trainer.store.toml import bad_values, reading
from tui_trainer.text.similar import nearest

if TYPE_CHECKING:
    from tui_trainer.tui.charts.model import Palette

ROLES = ("background", "surface", "raised", "text", "faint", "accent", "good", "caution", "bad")


class Colours(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Colours by meaning, as "#rrggbb"; the first three are the steps of background."""

    background: str
    surface: str
    raised: str
    text: str
    faint: str
    accent: str
    good: str
    caution: str
    bad: str
    series: list[str] = msgspec.field(default_factory=list)


class ThemeFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file in `themes/`."""

    name: str
    dark: bool
    colours: Colours


@dataclass(frozen=True)
class Themes:
    """The usable themes by name, and a message for each file that cannot be used."""

    files: dict[str, ThemeFile] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


# Used if no file can be read.
FALLBACK = ThemeFile(
    name="plain",
    dark=True,
    colours=Colours(
        background="#101010",
        surface="#181818",
        raised="#262626",
        text="#e6e6e6",
        faint="#a0a0a0",
        accent="#7ab8ff",
        good="#7bd88f",
        caution="#e8b84f",
        bad="#ff8178",
        series=["#7ab8ff", "#e8b84f", "#7bd88f"],
    ),
)


def load_themes(folders: Iterable[Path] | None = None) -> Themes:
    """Every theme in `folders` (default: those of the package, then the user's own, which replace
    themes of the same name)."""
    files: dict[str, ThemeFile] = {}
    problems: list[str] = []
    for folder in paths.themes() if folders is None else folders:
        try:
            found = sorted(folder.glob("*.toml"))
        except OSError as error:
            problems.append(f"themes in {folder} cannot be read: {reason_of(error)}")
            continue
        for file in found:
            try:
                theme = read_theme(file)
            except UserError as error:
                problems.append(f"theme skipped: {error}")
            else:
                files[theme.name] = theme
    return Themes(files or {FALLBACK.name: FALLBACK}, tuple(problems))


def name_problems(wanted: str, themes: Themes) -> tuple[str, ...]:
    """That there is no theme of the name in the settings, and the most similar one; nothing if
    there is one."""
    if wanted in themes.files:
        return ()
    guess, name = nearest(wanted, list(themes.files)), bad_values.text_of(wanted)
    hint = f'did you mean "{guess}"?' if guess else f"there are {', '.join(sorted(themes.files))}"
    return (f"{about('theme')}: there is no theme {name}; {hint}",)


def read_theme(file: Path) -> ThemeFile:
    """Read one theme. Raises `UserError` with the file and what is wrong in it."""
    if not file.is_file():  # reading a pipe would wait for ever
        raise UserError(f"{file} is not a file")
    values, source = reading.read_source(file)
    theme = reading.convert(values, ThemeFile, source)
    colours = theme.colours
    named: list[tuple[tuple[str | int, ...], str]] = [
        (("colours", role), getattr(colours, role)) for role in ROLES
    ]
    named += [(("colours", "series", at), value) for at, value in enumerate(colours.series)]
    for path, value in named:
        try:
            Color.parse(value)
        except (ColorParseError, *BAD_CONTENT):  # such as a number that is too long
            shown = bad_values.text_of(value)
            raise UserError(
                f"{source.at(*path)}: {bad_values.key_of(path)}: {shown} is not a colour; write it "
                'as "#rrggbb"'
            ) from None
    if not colours.series:
        start = source.about("colours.series")
        raise UserError(f"{start}: add at least one colour for the charts")
    return theme


def textual_theme(file: ThemeFile) -> Theme:
    """The theme as Textual's."""
    c = file.colours
    return Theme(
        name=file.name,
        dark=file.dark,
        primary=c.accent,
        secondary=c.faint,
        accent=c.accent,
        success=c.good,
        warning=c.caution,
        error=c.bad,
        foreground=c.text,
        background=c.background,
        surface=c.surface,
        panel=c.raised,
        variables={
            "faint": c.faint,
            "text": c.text,
            "text-muted": c.faint,
            "foreground-muted": c.faint,
            "block-cursor-background": c.accent,
            "block-cursor-foreground": c.background,
            "block-cursor-blurred-background": c.raised,
            "block-cursor-blurred-foreground": c.text,
            "block-hover-background": c.raised,
            "input-selection-background": f"{c.accent} 35%",
            "scrollbar": mix(c.faint, c.surface, 0.5),
            "scrollbar-hover": c.faint,
            "scrollbar-active": c.accent,
            "scrollbar-background": c.surface,
            "border": c.accent,
            "border-blurred": c.raised,
        },
    )


def chart_palette(file: ThemeFile) -> Palette:
    """The theme as a palette of the charts, without backgrounds."""
    from tui_trainer.tui.charts.model import Palette  # loads numpy: after the first paint

    c = file.colours
    line = c.series[0]
    return Palette(
        raw=_style(mix(line, c.surface, 0.42)),
        smooth=_style(line),
        validation=_style(c.series[1 % len(c.series)], bold=True),
        axis=_style(c.faint),
        title=_style(c.text, bold=True),
        faint=_style(c.faint),
        accent=_style(c.accent),
        clipped=_style(c.bad, bold=True),
        cursor=_style(c.faint),
        series=tuple(_style(colour) for colour in c.series),
        marks={
            "checkpoint": _style(c.accent),
            "evaluation": _style(c.faint),
            "learning_rate": _style(c.caution),
            "resumed": _style(c.good),
            "advice": _style(c.caution, bold=True),
        },
    )


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours by WCAG 2, 1 to 21."""
    bright, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def mix(colour: str, background: str, share: float) -> str:
    """`share` (0..1) of `colour` over `background`, as "#rrggbb"."""
    return Color.parse(background).blend(Color.parse(colour), share).hex6


def _luminance(colour: str) -> float:
    red, green, blue = (_linear(part) for part in Color.parse(colour).normalized)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else float(((part + 0.055) / 1.055) ** 2.4)


def _style(colour: str, bold: bool = False) -> Style:
    return Style(color=Color.parse(colour).rich_color, bold=bold or None)
