"""Search: an index that lags behind the contacts, and the rules of search requests.

https://developers.hubspot.com/docs/api-reference/latest/crm/search-the-crm
"""

from __future__ import annotations

import heapq
import itertools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

from sandbox.hubspot.definitions import Definitions
from sandbox.hubspot.records import Contact
from sandbox.hubspot.times import milliseconds

MOST_GROUPS, MOST_FILTERS, MOST_IN_ALL, MOST_SORTS = 5, 6, 18, 1
LONGEST_BODY = 3000  # characters
MOST_PER_PAGE = 200
MOST_RESULTS = 10_000
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "EQ": operator.eq,
    "NEQ": operator.ne,
    "GT": operator.gt,
    "GTE": operator.ge,
    "LT": operator.lt,
    "LTE": operator.le,
}
OPERATORS = frozenset({*COMPARISONS, "IN", "NOT_IN", "BETWEEN", "HAS_PROPERTY", "NOT_HAS_PROPERTY"})
SEARCHED = ("email", "firstname", "lastname", "company", "phone", "mobilephone", "hs_additional_emails")

Values = dict[str, str]


class InvalidSearch(ValueError):
    """A search request that gets a 400."""


class Snapshot(NamedTuple):
    """A contact as searches see it from *due* on; *values* None: not found any more."""

    due: float
    version: int
    id: int
    values: Values | None


class Index:
    """The contacts as searches see them: each change becomes visible some seconds later."""

    def __init__(self, lag: Callable[[], float], clock: Callable[[], float]) -> None:
        """Take the seconds of each delay from *lag*."""
        self._lag = lag
        self._clock = clock
        self._waiting: list[Snapshot] = []
        self._versions = itertools.count()
        self._seen: dict[int, Snapshot] = {}

    def take(self, contact: Contact) -> None:
        """Note the contact as it is now."""
        values = None if contact.archived_at is not None else contact.values()
        snapshot = Snapshot(self._clock() + self._lag(), next(self._versions), contact.id, values)
        heapq.heappush(self._waiting, snapshot)

    def catch_up(self) -> None:
        """Let searches see every change now."""
        self._waiting = [snapshot._replace(due=0) for snapshot in self._waiting]
        heapq.heapify(self._waiting)

    def visible(self) -> list[Values]:
        """Return the values of every contact that searches can find now."""
        now = self._clock()
        while self._waiting and self._waiting[0].due <= now:
            snapshot = heapq.heappop(self._waiting)
            seen = self._seen.get(snapshot.id)
            if seen is None or seen.version < snapshot.version:
                self._seen[snapshot.id] = snapshot
        return [snapshot.values for snapshot in self._seen.values() if snapshot.values is not None]


class Question(NamedTuple):
    """A search request that can be answered."""

    groups: list[list[dict[str, Any]]]
    text: str
    sort: tuple[str, bool] | None  # name, and whether descending
    names: list[str]
    limit: int
    after: int

    def found(self, everything: list[Values], definitions: Definitions) -> list[Values]:
        """Return the matches, sorted."""
        matching = [values for values in everything if self._matches(values, definitions)]
        matching.sort(key=lambda values: int(values["hs_object_id"]))
        if self.sort is not None:
            name, descending = self.sort
            sortable = [values for values in matching if name in values]
            rest = [values for values in matching if name not in values]
            sortable.sort(key=lambda values: _comparable(name, values[name], definitions), reverse=descending)
            matching = sortable + rest
        return matching

    def _matches(self, values: Values, definitions: Definitions) -> bool:
        if self.text and not any(self.text in values.get(name, "").lower() for name in SEARCHED):
            return False
        return not self.groups or any(
            all(_meets(values.get(one["propertyName"]), one, definitions) for one in group) for group in self.groups
        )


def read(document: Any, length: int, definitions: Definitions) -> Question:
    """Read a search request of *length* characters. Raise InvalidSearch."""
    if length > LONGEST_BODY:
        raise InvalidSearch(f"The query is longer than {LONGEST_BODY} characters")
    if not isinstance(document, dict):
        raise InvalidSearch("Invalid input JSON")
    groups = _groups(document.get("filterGroups") or [], definitions)
    sorts, names = document.get("sorts") or [], document.get("properties") or []
    if not isinstance(sorts, list) or not isinstance(names, list):
        raise InvalidSearch("sorts and properties are lists")
    if len(sorts) > MOST_SORTS:
        raise InvalidSearch(f"A maximum of {MOST_SORTS} sort is allowed")
    limit = _whole(document.get("limit", 10), "limit")
    after = _whole(document.get("after") or 0, "after")
    if not 0 < limit <= MOST_PER_PAGE:
        raise InvalidSearch(f"limit must be between 1 and {MOST_PER_PAGE}")
    if after + limit > MOST_RESULTS:
        raise InvalidSearch(f"Searches return at most {MOST_RESULTS} results; after and limit go beyond them")
    return Question(
        groups=groups,
        text=str(document.get("query") or "").lower(),
        sort=_sort(sorts[0], definitions) if sorts else None,
        names=[str(name) for name in names],
        limit=limit,
        after=after,
    )


def _groups(groups: Any, definitions: Definitions) -> list[list[dict[str, Any]]]:
    try:
        read = [list(group["filters"]) for group in groups]
    except (KeyError, TypeError):
        raise InvalidSearch("filterGroups is a list of {filters: [...]}") from None
    if len(read) > MOST_GROUPS:
        raise InvalidSearch(f"A maximum of {MOST_GROUPS} filterGroups is allowed")
    if any(len(group) > MOST_FILTERS for group in read):
        raise InvalidSearch(f"A maximum of {MOST_FILTERS} filters is allowed in a filterGroup")
    if sum(map(len, read)) > MOST_IN_ALL:
        raise InvalidSearch(f"A maximum of {MOST_IN_ALL} filters is allowed")
    for one in itertools.chain.from_iterable(read):
        _check_filter(one, definitions)
    return read


def _check_filter(one: Any, definitions: Definitions) -> None:
    if not isinstance(one, dict) or str(one.get("operator")) not in OPERATORS:
        raise InvalidSearch("A filter has a propertyName and a known operator")
    name = str(one.get("propertyName"))
    if definitions.known(name) is None:
        raise InvalidSearch(f'Property "{name}" does not exist')
    needed = {"IN": ("values",), "NOT_IN": ("values",), "BETWEEN": ("value", "highValue")}
    needs = () if one["operator"].endswith("HAS_PROPERTY") else needed.get(one["operator"], ("value",))
    if any(one.get(key) in (None, "") for key in needs):
        raise InvalidSearch(f"{one['operator']} needs {' and '.join(needs)}")
    values = one["values"] if "values" in needs else [one[key] for key in needs]
    if not isinstance(values, list):
        raise InvalidSearch("values is a list")
    for value in values:
        _comparable(name, str(value), definitions)


def _meets(value: str | None, one: dict[str, Any], definitions: Definitions) -> bool:
    how: str = one["operator"]
    name: str = one["propertyName"]
    if how.endswith("HAS_PROPERTY"):
        return (value is None) == (how == "NOT_HAS_PROPERTY")
    if value is None:
        return False
    has = _comparable(name, value, definitions)
    if how in {"IN", "NOT_IN"}:
        listed = [_comparable(name, str(each), definitions) for each in one["values"]]
        return (has in listed) == (how == "IN")
    wants = _comparable(name, str(one["value"]), definitions)
    if how == "BETWEEN":
        return bool(wants <= has <= _comparable(name, str(one["highValue"]), definitions))
    return COMPARISONS[how](has, wants)


def _comparable(name: str, value: str, definitions: Definitions) -> Any:
    """Return the form in which values of this property are compared: a number, or the text in lower case."""
    definition = definitions.known(name)
    kind = definition.type if definition else "string"
    try:
        if kind in {"date", "datetime"}:
            return milliseconds(value)
        if kind == "number":
            return int(value) if value.isdecimal() else float(value)
    except ValueError:
        raise InvalidSearch(f"{value} is no value of {name}") from None
    return value.lower()


def _sort(sort: Any, definitions: Definitions) -> tuple[str, bool]:
    if isinstance(sort, str):
        name, descending = sort.removeprefix("-"), sort.startswith("-")
    elif isinstance(sort, dict):
        name, descending = str(sort.get("propertyName")), sort.get("direction") == "DESCENDING"
    else:
        raise InvalidSearch("A sort has a propertyName and a direction")
    if definitions.known(name) is None:
        raise InvalidSearch(f'Property "{name}" does not exist')
    return name, descending


def _whole(value: Any, name: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidSearch(f"{name} is not a number") from None
