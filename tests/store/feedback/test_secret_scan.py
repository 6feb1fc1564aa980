"""What looks like a secret is found, and ordinary text is left alone."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_trainer.store import paths
from tui_trainer.store.feedback.secret_scan import find_secrets

# None of these is or was anybody's. They are put together here, so that scanners of
# repositories do not take them for real.
SECRETS = [
    ("use " + "AKIA" + "Q3EGRZ5LXK2V7M4T please", "AWS key"),
    ("gh" + "p_16C7e42F292c6912E7710c838347Ae178B4a", "GitHub token"),
    ("github_" + "pat_11ABCDEFG0123456789abc_abcdefghijklmnopqrstuvwxyz", "GitHub token"),
    ("gl" + "pat-abcDEF123456ghiJKL78", "GitLab token"),
    ("sk" + "-proj-abcdEFGH1234ijklMNOP5678qrstUVWX", "API key"),
    ("sk" + "-ant-api03-abcdEFGH1234ijklMNOP5678", "API key"),
    ("my token hf" + "_abcdefghijklmnopqrstuvwxyzABCDEFGH", "Hugging Face token"),
    ("xox" + "b-123456789012-1234567890123-abcdefghijkl", "Slack token"),
    ("AI" + "zaSyA1234567890abcdefghijklmnopqrstuvw", "Google key"),
    ("sk_" + "live_4eC39HqLyjWDarjtT1zdp7dc", "Stripe key"),
    ("eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N", "JWT"),
    ("-----BEGIN RSA " + "PRIVATE KEY-----\nMIIE", "private key"),
    ("-----BEGIN " + "PRIVATE KEY-----", "private key"),
    ("postgres://user:s3cr3tpw@db.example.com/x", "password in a URL"),
    ("Authorization: Bearer abcdef0123456789abcdef", "authorization header"),
    ("password: hunter2", "password"),
    ("The password is hunter2.", "password"),
    ("my password is swordfish", "password"),
    ("DB_PASSWORD=swordfish", "password"),
    ('{"password": "correct!horse"}', "password"),
    ("My PIN is 4711", "PIN"),
    ("token = abc123def456", "token"),
    ("export ACCESS_TOKEN='abc123def456'", "token"),
    ("the secret key: " + "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822c", "secret key"),
    ("api_key: dGhpcyBpcyBhIHNlY3JldCBrZXkgMTIz", "secret key"),
]
ORDINARY = [
    "What is a password?",
    "A password: something that lets you in, and nobody else.",
    "A token is a unit of text: a word or a piece of one.",
    "max_tokens = 256",
    "token = self.next_token(1)",
    "The secret is to be kind.",
    "The commit is 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b.",
    "password: required",
    "The password is required.",
    "The key is to practise every day.",
    "A basic understanding of task-oriented, sk-learn-like libraries",
    "Pin: a thin piece of metal",
    "https://example.com:8080/a@b",
    "",
]


@pytest.mark.parametrize(("text", "name"), SECRETS)
def test_a_secret_is_found_and_named(text: str, name: str) -> None:
    assert find_secrets(text) == [name]
    assert name in find_secrets(f"Before it.\nHe said so:\n{text}\nAnd after it.")


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_is_not_flagged(text: str) -> None:
    assert find_secrets(text) == []


def test_nothing_is_found_in_the_built_in_questions_and_answers() -> None:
    lines = (paths.builtin_model() / "questions.jsonl").read_text("utf-8").splitlines()
    texts = [
        row[key] for line in lines for row in [json.loads(line)] for key in ("question", "answer")
    ]
    assert len(texts) > 1000
    assert [text for text in texts if find_secrets(text)] == []


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz \n.,?'", max_size=200))
def test_words_are_secrets_only_as_assignments(text: str) -> None:
    if not any(word in text for word in ("pass", "pwd", "pin", "secret", "token", "key", "cred")):
        assert find_secrets(text) == []


@given(st.text(max_size=50), st.text(max_size=50))
def test_a_key_is_found_anywhere_in_a_text(before: str, after: str) -> None:
    key = "AKIA" + "Q3EGRZ5LXK2V7M4T"
    assert "AWS key" in find_secrets(f"{before} {key} {after}")
