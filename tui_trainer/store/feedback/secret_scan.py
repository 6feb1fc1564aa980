"""Detection of secrets in a text before it is stored.

It has its own patterns, since the library detect-secrets 1.5 flagged nearly every ordinary sentence
(its entropy rules are for quoted strings in source code), and found neither Hugging Face tokens nor
a plain `password: hunter2`.
"""

from __future__ import annotations

import math
import re
from collections import Counter

# Patterns by name. Tokens with a prefix are long and without spaces, so that they do not occur in
# prose.
_TOKENS = {
    "AWS key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,})",
    "GitLab token": r"\bglpat-[A-Za-z0-9_-]{20,}",
    "API key": r"\bsk-[A-Za-z0-9_-]{20,}",
    "Hugging Face token": r"\bhf_[A-Za-z0-9]{30,}",
    "Slack token": r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
    "Slack webhook": r"hooks\.slack\.com/services/[A-Za-z0-9/]{20,}",
    "Google key": r"\bAIza[A-Za-z0-9_-]{35}",
    "Stripe key": r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}",
    "npm token": r"\bnpm_[A-Za-z0-9]{36}",
    "PyPI token": r"\bpypi-[A-Za-z0-9_-]{40,}",
    "JWT": r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
    "private key": r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----",
    "password in a URL": r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@]{1,80}:[^\s/@]{3,80}@[^\s]",
    "authorization header": r"(?i)\b(?:bearer|basic) +(?=\S*\d)[A-Za-z0-9+/_.~-]{16,}=*",
}
_PATTERNS = {name: re.compile(pattern) for name, pattern in _TOKENS.items()}

_WORDS = (
    r"pass(?:word|wd|phrase|code)|pwd|pin|secret(?:[ _-]?(?:access[ _-]?)?key)?|token|credentials?"
    r"|(?:api|access|auth|private|encryption|signing|account)[ _-]?(?:key|token)"
)
# A word for a secret, then `:`, `=` or "is", then a value without spaces.
_ASSIGNED = re.compile(
    rf"(?i)(?<![a-z])(?P<word>(?:[a-z0-9]{{1,20}}[_-]){{0,4}}(?:{_WORDS})s?)[\"'`]?"
    r"(?P<sign>\s*(?::=|=>|==?|:)\s*|\s+(?:is|was)\s*:?\s+)"
    r"(?P<quote>[\"'`])?(?P<value>[^\s\"'`,;]{3,})"
)
_HEX = re.compile(r"[0-9a-fA-F]{24,}")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{20,}={0,2}")
_RANDOM_HEX_BITS = 3.0  # least entropy of a random value, bits per character (at most 4)
_RANDOM_BASE64_BITS = 3.6  # the same for base64 (at most 6)
_NEAR = 60  # characters around an assignment that are checked
_OPENINGS = ("", "my", "the", "your", "our", "new", "use", "export", "set", "user", "admin")
_PLACEHOLDERS = (
    "required", "optional", "string", "secret", "password", "hidden", "unknown", "invalid",
    "missing", "changed", "expired", "nothing", "correct", "stored",
)  # fmt: skip


def find_secrets(text: str) -> list[str]:
    """Kinds of secrets that the text seems to contain, such as "AWS key"."""
    found = [name for name, pattern in _PATTERNS.items() if pattern.search(text)]
    for match in _ASSIGNED.finditer(text):
        name = _kind(match["word"])
        if name not in found and _is_secret(match, text):
            found.append(name)
    return found


def _kind(word: str) -> str:
    word = word.lower()
    for start, name in (("pass", "password"), ("pwd", "password"), ("pin", "PIN")):
        if start in word:
            return name
    return "token" if "token" in word else "secret key"


def _is_secret(match: re.Match[str], text: str) -> bool:
    value = match["value"].rstrip(".!?)")
    word = match["word"].lower()
    if word == "pin" or word.endswith("_pin"):
        return value.isdigit() and 4 <= len(value) <= 8
    if _is_random(value):
        return True
    if "(" in value or len(value) < 5:  # a call in a program
        return False
    if any(c.isdigit() for c in value) and any(c.isalpha() for c in value):
        return True
    if len(value) < 6:
        return False
    return _has_symbols(value) or (_is_whole_line(match, text) and not _is_placeholder(value))


def _is_whole_line(match: re.Match[str], text: str) -> bool:
    """Whether the assignment is the whole line: `password = swordfish`, but not the sentence
    "A password: something that lets you in"."""
    sign = match["sign"].strip()
    assigned = sign[0] in ":=" or _kind(match["word"]) == "password"
    before = text[max(0, match.start() - _NEAR) : match.start()].rpartition("\n")[2]
    after = text[match.end() : match.end() + _NEAR].partition("\n")[0]
    ends = after.strip("\"'` ,;.") == ""
    return assigned and ends and before.strip("\"'`-* ").lower() in _OPENINGS


def _is_placeholder(value: str) -> bool:
    return value.lower().strip("<>[]{}*.") in _PLACEHOLDERS


def _has_symbols(value: str) -> bool:
    """Whether a value has symbols among its letters that are usual in passwords, but not in prose
    and code."""
    inner = value[1:-1]
    return any(c in "!@#$%^&*?~+" for c in inner) and any(c.isalpha() for c in value)


def _is_random(value: str) -> bool:
    if _HEX.fullmatch(value):
        return _bits(value.lower()) >= _RANDOM_HEX_BITS
    return bool(_BASE64.fullmatch(value)) and _bits(value) >= _RANDOM_BASE64_BITS


def _bits(text: str) -> float:
    """Shannon entropy in bits per character."""
    counts = Counter(text).values()
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts)
