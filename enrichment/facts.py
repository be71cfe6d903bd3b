"""The facts about a person, and when two sets of facts contradict each other.

    slug, member   hashes of the public LinkedIn slug and of the member id
    names          up to eight spellings that agree with one another

Two names agree when every word of the shorter occurs in the longer: in any case and accents, an initial standing
for any word that begins with it. Titles are ignored. Two generations (Jr and Sr) never agree. Names in different
scripts are not compared.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

MOST_NAMES = 8
# Letters that Unicode does not decompose, and the two ways to write an umlaut without dots.
_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ı": "i", "þ": "th", "æ": "ae", "œ": "oe"})
_UMLAUTS = (("ae", "a"), ("oe", "o"), ("ue", "u"))
_APOSTROPHES = dict.fromkeys(map(ord, "'’‘ʼ`´"))  # O'Brien is one word, however it was typed
# Titles do not tell people apart: "Dr. Jane Doe, PhD" is Jane Doe.
_TITLES = frozenset(
    {"dr", "prof", "mr", "mrs", "ms", "miss", "sir", "ing", "dipl", "mag", "herr", "frau", "phd", "mba", "esq"}
)
# Father and son may share a house and a mailbox; only these words tell them apart.
_GENERATIONS = frozenset({"jr", "sr", "ii", "iii", "iv"})


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


@lru_cache(maxsize=4096)
def _words(name: str) -> tuple[str, ...]:
    folded = fold(name)
    for written, plain in _UMLAUTS:
        folded = folded.replace(written, plain)
    words = tuple(folded.split())
    return tuple(word for word in words if word not in _TITLES and word not in _GENERATIONS) or words


def _generations(name: str) -> frozenset[str]:
    return _GENERATIONS.intersection(fold(name).split())


def names_agree(one: str, other: str) -> bool:
    """Tell whether both may be names of one person."""
    shorter, longer = sorted((_words(one), _words(other)), key=len)
    if not shorter or _scripts(shorter).isdisjoint(_scripts(longer)):
        return True
    if len(_generations(one) | _generations(other)) > 1:
        return False
    return _each_occurs(shorter, list(longer))


def _each_occurs(words: Iterable[str], among: list[str]) -> bool:
    """Tell whether every word has its own match among the others; match whole words first."""
    initials = []
    for word in words:
        if word in among:
            among.remove(word)
        else:
            initials.append(word)
    for word in initials:
        partner = next((a for a in among if _is_initial(word, a) or _is_initial(a, word)), None)
        if partner is None:
            return False
        among.remove(partner)
    return True


def _is_initial(letter: str, word: str) -> bool:
    return len(letter) == 1 and word.startswith(letter)


def _scripts(words: Iterable[str]) -> set[str]:
    """Return the scripts of the letters, by the first word of their Unicode names: LATIN, CYRILLIC, CJK ..."""
    return {unicodedata.name(c, "?").partition(" ")[0] for word in words for c in word if c.isalpha()} or {"?"}
