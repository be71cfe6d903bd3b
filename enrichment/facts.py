"""The facts about a person, and when two sets of facts contradict each other.

    slug, member   hashes of the public LinkedIn slug and of the member id
    names          up to eight spellings that agree with one another

Two names agree when every word of the shorter occurs in the longer: in any case and accents, an initial standing
for any word that begins with it. Müller may be spelt Muller or Mueller, but those two are two names. Titles are
ignored. Two generations (Jr and Sr) never agree. Names in different scripts are not compared.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

MOST_NAMES = 8
# Letters that Unicode does not decompose.
_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ı": "i", "þ": "th", "æ": "ae", "œ": "oe"})
# The other way to write a letter without its mark. It counts only where the mark is written: Joe is not Jo.
_SPELT_OUT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa"})
_APOSTROPHES = dict.fromkeys(map(ord, "'’‘ʼ`´"))  # O'Brien is one word, however it was typed
# Titles do not tell people apart: "Dr. Jane Doe, PhD" is Jane Doe.
_TITLES = frozenset(
    {"dr", "prof", "mr", "mrs", "ms", "miss", "sir", "ing", "dipl", "mag", "herr", "frau", "phd", "mba", "esq"}
)
# Father and son may share a house and a mailbox; only these words tell them apart.
_GENERATIONS = {
    "jr": "jr", "jnr": "jr", "junior": "jr", "sr": "sr", "snr": "sr", "senior": "sr",
    "ii": "ii", "2nd": "ii", "iii": "iii", "3rd": "iii", "iv": "iv", "4th": "iv",
}  # fmt: skip
_ALSO_FIRST_NAMES = frozenset({"junior", "senior"})
_SENOR = "sr"  # before a name it is a title: Sr. Juan Pérez
_ALSO_INITIALS = frozenset({"v", "vi"})  # the fifth, or Victor, or Vi: a generation only as the last of three words


@dataclass(slots=True)
class Facts:
    """One slug, one member id, and the names that agree."""

    slug: bytes | None = None
    member: bytes | None = None
    names: list[str] = field(default_factory=list)

    def learn(self, other: Facts) -> bool:
        """Add the facts of *other*, except those that contradict these. Return whether any was new."""
        before = (self.slug, self.member, len(self.names))
        self.slug = self.slug or other.slug
        self.member = self.member or other.member
        for name in other.names:
            if len(self.names) < MOST_NAMES and name not in self.names and self.knows_name(name):
                self.names.append(name)
        return before != (self.slug, self.member, len(self.names))

    def knows_name(self, name: str) -> bool:
        """Tell whether *name* agrees with every known name."""
        return all(names_agree(name, known) for known in self.names)


def contradict(one: Facts, other: Facts) -> bool:
    """Tell whether the two cannot be one person: two slugs, two member ids, or names that do not agree."""
    if one.slug and other.slug and one.slug != other.slug:
        return True
    if one.member and other.member and one.member != other.member:
        return True
    return any(not names_agree(name, known) for name in one.names for known in other.names)


def fold(text: str) -> str:
    """Return *text* without case, accents and punctuation, its words separated by one space."""
    joined = text.translate(_APOSTROPHES)
    decomposed = unicodedata.normalize("NFKD", joined.casefold()).translate(_LETTERS)
    return " ".join("".join(c if c.isalnum() else " " for c in decomposed if not unicodedata.combining(c)).split())


class _Name(NamedTuple):
    """A name's words, each with its spellings; *needed* are those that another name must have as well."""

    words: tuple[frozenset[str], ...]
    needed: tuple[frozenset[str], ...]
    generations: frozenset[str]


@lru_cache(maxsize=4096)
def _read(name: str) -> _Name:
    composed = unicodedata.normalize("NFC", name.casefold())
    plain = fold(composed).split()
    words = tuple(map(frozenset, zip(plain, fold(composed.translate(_SPELT_OUT)).split(), strict=True)))
    needed = _needed(plain)
    behind = plain[needed[0] + 1 :] if needed else []
    generations = {_GENERATIONS[word] for word in behind if word in _GENERATIONS}
    if len(needed) > 2 and plain[-1] in _ALSO_INITIALS and not name.rstrip().endswith("."):
        generations.add(plain[-1])
    return _Name(words, tuple(words[index] for index in needed) or words, frozenset(generations))


def _needed(plain: Sequence[str]) -> list[int]:
    """Return the places of the words that are no title and no generation behind a name."""
    needed: list[int] = []
    for index, word in enumerate(plain):
        # Junior Santos and Carlos Junior are named so: without that word they would match their whole family.
        behind_a_name = len(needed) > (word in _ALSO_FIRST_NAMES)
        if word not in _TITLES and not (word in _GENERATIONS and (behind_a_name or word == _SENOR)):
            needed.append(index)
    return needed


def names_agree(one: str, other: str) -> bool:
    """Tell whether both may be names of one person."""
    shorter, longer = sorted((_read(one), _read(other)), key=lambda name: (len(name.needed), len(name.words)))
    if not shorter.needed or _scripts(shorter.needed).isdisjoint(_scripts(longer.needed)):
        return True
    if shorter.generations and longer.generations and shorter.generations.isdisjoint(longer.generations):
        return False
    return _each_occurs(shorter.needed, longer)


def _each_occurs(needed: Iterable[frozenset[str]], longer: _Name) -> bool:
    """Tell whether every word has its own match in the longer name; match whole words first."""
    among = list(longer.words)
    initials = []
    for word in needed:
        if (same := next((a for a in among if a & word), None)) is not None:
            among.remove(same)
        else:
            initials.append(word)
    # A title or a generation is no word that an initial stands for.
    among = [word for word in among if word in longer.needed]
    for word in initials:
        partner = next((a for a in among if _is_initial(word, a) or _is_initial(a, word)), None)
        if partner is None:
            return False
        among.remove(partner)
    return True


def _is_initial(letter: frozenset[str], word: frozenset[str]) -> bool:
    return any(len(one) == 1 and other.startswith(one) for one in letter for other in word)


def _scripts(words: Iterable[frozenset[str]]) -> set[str]:
    """Return the scripts of the letters, by the first word of their Unicode names: LATIN, CYRILLIC, CJK ..."""
    letters = {letter for word in words for spelling in word for letter in spelling if letter.isalpha()}
    return {unicodedata.name(letter, "?").partition(" ")[0] for letter in letters} or {"?"}
