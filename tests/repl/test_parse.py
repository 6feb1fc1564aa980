"""Lines become questions and commands, and nothing of the user's text is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_trainer.contracts.errors import UserError
from tui_trainer.repl.command_table import COMMANDS
from tui_trainer.repl.parse import Question, SlashCommand, completions, parse

names = st.sampled_from(sorted(COMMANDS))


@given(st.text().filter(lambda text: text.strip() and not text.strip().startswith("/")))
def test_other_text_is_a_question(text: str) -> None:
    assert parse(text) == Question(text.strip())


@given(st.text().filter(str.strip))
def test_two_slashes_ask_about_a_text_with_one(text: str) -> None:
    asked = parse(f"//{text}")
    assert asked == Question(f"/{text}".strip())


@given(names, st.text(), st.sampled_from([" ", "\t", "\n"]))
def test_the_rest_of_a_command_is_kept_to_the_character(name: str, rest: str, gap: str) -> None:
    wanted = rest if rest.strip() else ""
    assert parse(f"/{name}{gap}{rest}\n") == SlashCommand(name, wanted)
    assert parse(f"/{name}") == parse(f"  /{name}  ") == SlashCommand(name)


@given(names, st.integers(0, 20), st.sampled_from("xqj"))
def test_a_misspelt_command_is_never_done(name: str, position: int, letter: str) -> None:
    position = min(position, len(name))
    with pytest.raises(UserError, match="there is no command"):
        parse(f"/{name[:position]}{letter}{name[position:]} rest")


@given(st.text())
def test_any_line_is_something_or_a_sentence(line: str) -> None:
    try:
        found = parse(line)
    except UserError as error:
        assert line.strip().startswith("/")
        assert str(error)
        return
    assert (found is None) == (not line.strip())


def test_the_nearest_command_is_named() -> None:
    with pytest.raises(UserError, match=r"no command /god; did you mean /good\?"):
        parse("/god")
    with pytest.raises(UserError, match=r"no command /zzz; /help lists the commands"):
        parse("/zzz top")
    with pytest.raises(UserError, match="directly after its slash"):
        parse("/ good")
    with pytest.raises(UserError, match="Type // to begin"):
        parse("/etc/passwd is what?")


def test_completions() -> None:
    assert completions("/tr") == ["/train", "/training"]
    assert completions("/x") == completions("what") == []
