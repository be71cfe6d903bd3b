"""The types of settings: how to read each from text, and what is wrong with an unusable text.

No message repeats a value: it may be a secret in the wrong place.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args
from urllib.parse import urlsplit

import phonenumbers
from pydantic import AfterValidator, BeforeValidator, HttpUrl, SecretStr
from pydantic_settings import NoDecode

from enrichment.event_fields import FIELDS, IGNORED
from enrichment.postgres_url import read_postgres_url

Scope = Literal["events", "read", "operate", "admin"]

SCOPES: frozenset[Scope] = frozenset(get_args(Scope))
BARE: frozenset[Scope] = SCOPES - {"admin"}  # the scopes of a token that names none
COUNTRIES = {"UK": "GB", "EL": "GR"}  # common misspellings of the code
LEVELS = {"warn": "warning", "critical": "error", "fatal": "error", "trace": "debug", "notset": "debug"}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A secret that could not be read, and why."""

    reason: str


class ApiToken(SecretStr):
    """A token of API_TOKENS: the secret, its scopes, and its owner's name."""

    def __init__(self, secret: str, scopes: frozenset[Scope] = BARE, name: str | None = None) -> None:
        super().__init__(secret)
        self.scopes = scopes
        self.name = name


def without_quotes(text: str) -> str:
    """Trim *text*, and remove the quotes around it that `docker --env-file` keeps."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" and text[0] not in text[1:-1]:
        return text[1:-1].strip()
    return text


def _parts(value: Any) -> Any:
    if isinstance(value, str):
        text = without_quotes(value)
        if text.startswith('["') and text.endswith('"]'):  # a list as JSON writes it
            value = text[1:-1]
        return [part for line in re.split(r"[,\r\n]", without_quotes(value)) if (part := without_quotes(line))]
    return _sound(value)


def _sound(value: Any) -> Any:
    if isinstance(value, Unreadable):
        raise ValueError(value.reason)  # noqa: TRY004  only that is a validation error
    return value


def _tokens(value: Any) -> Any:
    parts = _parts(value)
    return tuple(_token(part) if isinstance(part, str) else part for part in parts)


def _token(text: str) -> ApiToken:
    name, scopes, secret = _split_token(text)
    if not _fits_a_header(secret):
        raise ValueError("must be without spaces, each on a line or after a comma")
    if name is None:
        return ApiToken(secret)
    known = frozenset(scope for scope in get_args(Scope) if scope in scopes)
    if not _NAME.fullmatch(name) or scopes - known:
        raise ValueError(f"must be a token, or name:scope+scope:token with scopes of {', '.join(get_args(Scope))}")
    return ApiToken(secret, known, name)


def _split_token(text: str) -> tuple[str | None, frozenset[str], str]:
    """Split `name:scope+scope:token`. A malformed one must not pass for a token with more scopes."""
    if ":" not in text:
        return None, frozenset(), text
    name, _, rest = text.partition(":")
    scopes, found, secret = rest.partition(":")
    return (
        name.strip(),
        frozenset(scope.strip().lower() for scope in scopes.split("+")),
        secret.strip() if found else "",
    )


def _fits_a_header(text: str) -> bool:
    return bool(text) and text.isprintable() and not any(map(str.isspace, text))


def _key(value: Any) -> Any:
    value = _sound(value)
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str):
        return value
    text = without_quotes(text)
    if not (text.isascii() and text.isprintable()):
        raise ValueError("must be one line of plain characters")
    return SecretStr(text) if text else None


def _sendable(secret: SecretStr | None) -> SecretStr | None:
    if secret is not None and not _fits_a_header(secret.get_secret_value()):
        raise ValueError("must be one token without spaces")
    return secret


def _webhook_secret(secret: SecretStr | None) -> SecretStr | None:
    """Check a Standard Webhooks secret: whsec_ and base64 of 24 to 64 bytes."""
    if secret is None:
        return None
    prefix, _, encoded = secret.get_secret_value().partition("_")
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        key = b""
    if prefix != "whsec" or not 24 <= len(key) <= 64:
        raise ValueError("must be whsec_ followed by base64 of 24 to 64 bytes")
    return secret


def _database_url(secret: SecretStr | None) -> SecretStr | None:
    if secret is not None:
        read_postgres_url(secret.get_secret_value())  # raises what is wrong
    return secret


def _url(value: str) -> str:
    """Read an http(s) address without its last slash, so that a path can be appended."""
    url = without_quotes(value)
    if re.search(r"\s", url):
        raise ValueError("must be one address, without spaces")
    if re.search(r"[,;\\{}<>|^`\"]", url):
        raise ValueError("must be one address, without characters that no address has")
    HttpUrl(url)  # raises what pydantic reports
    if "?" in url or "#" in url:
        raise ValueError("must not have a query or a fragment")
    if "@" in urlsplit(url).netloc:
        raise ValueError("must not have a user or a password")
    return url.rstrip("/")


def _region(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    region = value.strip().upper()
    region = COUNTRIES.get(region, region)
    if region not in phonenumbers.SUPPORTED_REGIONS:
        raise ValueError("must be a country as two letters of ISO 3166, like US")
    return region


def _fields(value: Any) -> Any:
    """Read `Their Name=work_email, ...` into a dict from their name to our field."""
    if not isinstance(value, str):
        return value
    mapping: dict[str, str] = {}
    for part in _parts(value):
        theirs, _, ours = (one.strip() for one in part.rpartition("="))
        if not theirs or ";" in theirs or ours not in (*FIELDS, IGNORED):
            raise ValueError(f"must be `their name=our field, ...`; our fields are {', '.join((*FIELDS, IGNORED))}")
        if theirs in mapping:
            raise ValueError("must name each of their fields once")
        mapping[theirs] = ours
    return mapping


def _lower(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else value


def _lower_parts(value: Any) -> Any:
    return [part.lower() for part in _parts(value)] if isinstance(value, str) else value


def _level(value: Any) -> Any:
    return LEVELS.get(_lower(value), _lower(value)) if isinstance(value, str) else value


Keys = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_parts)]
Tokens = Annotated[tuple[ApiToken, ...], NoDecode, BeforeValidator(_tokens)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_lower_parts)]
Fields = Annotated[Mapping[str, str], NoDecode, BeforeValidator(_fields)]
Key = Annotated[SecretStr | None, BeforeValidator(_key)]
HeaderToken = Annotated[SecretStr | None, AfterValidator(_sendable), BeforeValidator(_key)]
WebhookSecret = Annotated[SecretStr | None, AfterValidator(_webhook_secret), BeforeValidator(_key)]
DatabaseUrl = Annotated[SecretStr | None, AfterValidator(_database_url), BeforeValidator(_sound)]
Url = Annotated[str, AfterValidator(_url)]
Region = Annotated[str | None, BeforeValidator(_region)]
Level = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_level)]
Lowered = Annotated[T, BeforeValidator(_lower)]
