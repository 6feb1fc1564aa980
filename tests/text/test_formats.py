"""Every number, duration, size, rate and share is written in one way, and foreign text is safe."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_trainer.text import formats


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (float("inf"), "–"),
        (0.4, "0 s"),
        (59.6, "1:00"),
        (724, "12:04"),
        (10_931, "3:02:11"),
        (93_600, "1 d 02:00"),
        (-3, "-3 s"),
    ],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert formats.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (1.2839, "1.284"),
        (0.5, "0.5000"),
        (18_402.4, "18,402"),
        (812, "812"),
        (0.00001234, "1.23e-5"),
    ],
)
def test_number(value: float | None, text: str) -> None:
    assert formats.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(2e-4, "2e-4"), (1.6e-4, "1.6e-4"), (1.0, "1"), (0.05, "0.05"), (1e12, "1e12"), (None, "–")],
)
def test_rate(value: float | None, text: str) -> None:
    assert formats.rate(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(999.4, "999"), (999.5, "1e3"), (1234.0, "1.23e3"), (-5e3, "-5e3")]
)
def test_a_large_rate_has_an_exponent_without_sign_or_zero(value: float, text: str) -> None:
    assert formats.rate(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.005, "0.5 %"), (0.125, "12.5 %"), (0.1, "10 %"), (0.29, "29 %"), (0.9999, "99.99 %")],
)
def test_a_configured_share_is_not_rounded(value: float, text: str) -> None:
    assert formats.set_share(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (-0.031, "-3.1 %"), (0.05, "+5.0 %"), (12.5, "+1,250 %"), (1e308, "–")],
)
def test_change(value: float | None, text: str) -> None:
    assert formats.change(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(1.3125, "×1.3"), (0.5, "×0.5"), (0.316, "×0.32"), (10.0, "×10")]
)
def test_factor(value: float, text: str) -> None:
    assert formats.factor(value) == text


@pytest.mark.parametrize(
    ("before", "after", "count", "text"),
    [(None, None, 0, "–"), (None, 1.0, 0, "100 %"), (0.3, 1.0, 10, "30 % → 100 % of 10")],
)
def test_share_change(before: float | None, after: float | None, count: int, text: str) -> None:
    assert formats.share_change(before, after, count) == text


@pytest.mark.parametrize(
    ("step", "total", "text"),
    [(None, None, "–"), (1420, None, "1,420"), (0, 40, "0 / 40"), (1420, 3000, "1,420 / 3,000")],
)
def test_steps(step: int | None, total: int | None, text: str) -> None:
    assert formats.steps(step, total) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [(None, "–"), (512, "512 B"), (4_299_162, "4.1 MiB"), (2**41, "2.0 TiB")],
)
def test_size(amount: int | None, text: str) -> None:
    assert formats.size(amount) == text


@given(st.text())
def test_escaped_text_cannot_steer_a_terminal(text: str) -> None:
    shown = formats.escape(text)
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") for c in shown)
    shown.encode("utf-8")


def test_escape_shows_what_was_there() -> None:
    assert formats.escape("a\x1b[31mb\nc\u202ed") == "a\\x1b[31mb\\nc\\u202ed"
    assert formats.escape("Größe 寸法 …") == "Größe 寸法 …"


@pytest.mark.parametrize(
    ("value", "text"), [(0.383, "38 %"), (1.0, "100 %"), (0.9999, "99.9 %"), (None, "–")]
)
def test_share_is_not_rounded_up_to_all(value: float | None, text: str) -> None:
    assert formats.share(value) == text


@pytest.mark.parametrize(
    ("used", "total", "text"),
    [
        (21.3 * 2**30, 128 * 2**30, "21.3 / 128 GiB"),
        (2**29, 128 * 2**30, "0.5 / 128 GiB"),
        (2**20, None, "1.0 MiB"),
        (None, 2**30, "–"),
    ],
)
def test_size_of_a_total(used: float | None, total: float | None, text: str) -> None:
    assert formats.size_of(used, total) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.42, "0.42 ms"), (41.2, "41 ms"), (1_400, "1.4 s"), (724_000, "12:04"), (None, "–")],
)
def test_milliseconds(value: float | None, text: str) -> None:
    assert formats.milliseconds(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "less than 1 s"), (59, "59 s"), (7_300, "2 h"), (5 * 86_400, "5 d"), (None, "–")],
)
def test_age(seconds: float | None, text: str) -> None:
    assert formats.age(seconds) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [(1, "1 row"), (1_420, "1,420 rows"), (1.0, "1 row"), (0.5, "0.5 rows"), (0, "0 rows")],
)
def test_plural(amount: float, text: str) -> None:
    assert formats.plural(amount, "row") == text


@pytest.mark.parametrize(("value", "text"), [(0.25, "0.25"), (2_110.4, "2,110"), (3.0, "3")])
def test_short_number(value: float, text: str) -> None:
    assert formats.short_number(value) == text


@given(st.floats() | st.none())
def test_every_value_is_written_and_never_raises(value: float | None) -> None:
    for write in (
        *(formats.number, formats.short_number, formats.count, formats.rate, formats.share),
        *(formats.percent, formats.size, formats.byte_rate, formats.duration),
        *(formats.milliseconds, formats.age, formats.clock, formats.moment),
    ):
        text = write(value)
        assert text and "nan" not in text and "inf" not in text


@given(st.text())
def test_a_notice_is_one_line_and_cannot_steer_a_terminal(text: str) -> None:
    shown = formats.one_line(text, 40)
    assert len(shown) <= 40
    assert not any(unicodedata.category(c)[0] in "CZ" and c != " " for c in shown)


def test_score() -> None:
    values = (0.93512, 1.0, None, float("nan"))
    assert [formats.score(value) for value in values] == ["0.935", "1.000", "–", "–"]
