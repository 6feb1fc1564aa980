"""Exact and near duplicates among texts.

Exact duplicates are equal but for white space. Near duplicates have the same words (without case
and punctuation), or sets of three consecutive words with a Jaccard similarity of at least
`SIMILAR`. Candidate pairs are found by MinHash (Broder 1997) with banding, 16 bands of 4 rows: a
pair at the threshold is found with probability 1 - (1 - 0.8^4)^16 = 0.9998. Every candidate pair is
then compared exactly. The work is bounded: `MOST_ROWS` texts, `MOST_WORDS` words of each, and at
most `MOST_COMPARED` earlier texts compared per band.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

SIMILAR = 0.8
MOST_ROWS = 50_000
MOST_WORDS = 1_000
MOST_COMPARED = 4
_BANDS, _BAND_ROWS, _SHINGLE = 16, 4, 3
_WORD = re.compile(r"\w+")
Hashes = npt.NDArray[np.uint64]
Groups = npt.NDArray[np.int64]

METHOD = (
    f"sets of {_SHINGLE} consecutive words with a Jaccard similarity of at least {SIMILAR:g}, "
    f"found by MinHash with {_BANDS} bands of {_BAND_ROWS}"
)


def exact_groups(texts: Iterable[str]) -> Groups:
    """Return for each text the index of the first one that is equal to it but for white space.

    The texts are compared by digests of 128 bits, so that they need not be in memory together.
    """
    digests = bytearray()
    for text in texts:
        digests += _digest(" ".join(text.split()), 16)
    parts = np.frombuffer(bytes(digests), dtype=np.uint64).reshape(-1, 2)
    order = np.lexsort((parts[:, 1], parts[:, 0]))  # stable: equal ones keep their order
    ordered = parts[order]
    starts = np.ones(len(order), dtype=np.bool_)
    starts[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    groups = np.empty(len(order), dtype=np.int64)
    groups[order] = order[starts][np.cumsum(starts) - 1]
    return groups


def near_groups(texts: Iterable[str], count: int) -> Groups | None:
    """Return for each of the `count` texts the lowest index in its group of near duplicates, in
    which every text is a near duplicate of some other one; None for more than `MOST_ROWS` texts."""
    if count > MOST_ROWS:
        return None
    parent = list(range(count))
    first: dict[bytes, int] = {}
    buckets: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    sets: dict[int, Hashes] = {}
    for index, text in enumerate(texts):
        words = _words(text)
        earlier = first.setdefault(_digest("\0".join(words), 16), index)
        _union(parent, earlier, index)
        if earlier == index:
            sets[index] = _shingles(words)
            _join_similar(index, sets, buckets, parent)
    return np.array([_find(parent, index) for index in range(count)], dtype=np.int64)


def _digest(text: str, size: int) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=size).digest()


def _words(text: str) -> tuple[str, ...]:
    plain = unicodedata.normalize("NFKC", text).casefold()
    return tuple(_WORD.findall(plain)[:MOST_WORDS]) or (plain.strip(),)


def _shingles(words: tuple[str, ...]) -> Hashes:
    """Return the sorted hashes of all runs of three words, or of the whole text if shorter."""
    hashed = np.array([_hash(word) for word in words], dtype=np.uint64)
    size = min(_SHINGLE, len(words))
    combined = np.zeros(len(words) - size + 1, dtype=np.uint64)
    for offset in range(size):
        part = hashed[offset : len(hashed) - size + 1 + offset]
        combined = combined * np.uint64(0x9E3779B97F4A7C15) + part
    return np.unique(combined)


@lru_cache(maxsize=200_000)
def _hash(word: str) -> int:
    return int.from_bytes(_digest(word, 8), "little")


def _coefficients() -> tuple[Hashes, Hashes]:
    drawn = np.random.default_rng(0).integers(
        0, 2**64, size=(2, _BANDS * _BAND_ROWS, 1), dtype=np.uint64
    )
    return drawn[0] | np.uint64(1), drawn[1]


_FACTORS, _OFFSETS = _coefficients()


def _join_similar(
    index: int,
    sets: dict[int, Hashes],
    buckets: dict[tuple[int, bytes], list[int]],
    parent: list[int],
) -> None:
    """Join a text with the earlier texts that share a band with it and are similar."""
    own = sets[index]
    least = (own[None, :] * _FACTORS + _OFFSETS).min(axis=1)
    compared: set[int] = set()
    for band in range(_BANDS):
        bucket = buckets[band, least[band * _BAND_ROWS : (band + 1) * _BAND_ROWS].tobytes()]
        for other in bucket:
            if other not in compared:
                compared.add(other)
                if _similarity(own, sets[other]) >= SIMILAR:
                    _union(parent, other, index)
        if len(bucket) < MOST_COMPARED:
            bucket.append(index)


def _similarity(one: Hashes, other: Hashes) -> float:
    """Return the Jaccard similarity of two sets."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared)


def _find(parent: list[int], index: int) -> int:
    """Return the lowest index of a text's group, and shorten the path to it."""
    while parent[index] != index:
        parent[index] = parent[parent[index]]
        index = parent[index]
    return index


def _union(parent: list[int], one: int, other: int) -> None:
    low, high = sorted((_find(parent, one), _find(parent, other)))
    parent[high] = low
