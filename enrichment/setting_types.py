"""The types of settings: how to read each from text, and what is wrong with an unusable text.

No message repeats a value: it may be a secret in the wrong place.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args
from urllib.parse import urlsplit

import phonenumbers
from pydantic import AfterValidator, BeforeValidator, Field, HttpUrl, SecretStr
from pydantic_settings import NoDecode

from enrichment.event_fields import FIELDS, IGNORED
from enrichment.money import MOST_CREDITS, cents
from enrichment.postgres_url import read_postgres_url
from enrichment.regions import read_region
from enrichment.texts import tidy

Scope = Literal["events", "read", "operate", "admin"]
Network = IPv4Network | IPv6Network

SCOPES: frozenset[Scope] = frozenset(get_args(Scope))
BARE: frozenset[Scope] = SCOPES - {"admin"}  # the scopes of a token without a list of its own
LEVELS = {"warn": "warning", "critical": "error", "fatal": "error", "trace": "debug", "notset": "debug"}

MOST_REQUESTS = 10**9  # the most of a limit; the database counts in four bytes

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PROPERTY = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]{0,99}")
_LIST = re.compile(r'\[\s*(".*")\s*\]', re.DOTALL)  # as JSON writes it
_WRAPPED = re.compile(r"""\[\s*['"].*|.*['"]\s*\]|\[.*\]|\{.*\}|<.*>|\(.*\)""", re.DOTALL)
_CURLY = re.compile(r"[“”„‟‘’‚‛«»‹›]")
_NO_VALUE = re.compile(rf"""=|^[\[{{'"]|[\]}}'"]$|{_CURLY.pattern}""")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A value that could not be read, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Condition:
    """A property of a contact, and the values, in lower case, of which it must have one."""

    name: str
    values: frozenset[str]


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
        if listed := _LIST.fullmatch(text):
            value = listed[1]
        else:
            _check_bare(text)
        return [part for line in re.split(r"[,\r\n]", without_quotes(value)) if (part := without_quotes(line))]
    return _sound(value)


def _sound(value: Any) -> Any:
    if isinstance(value, Unreadable):
        raise ValueError(value.reason)  # noqa: TRY004  only that is a validation error
    return value


def _keys(value: Any) -> Any:
    parts = _parts(value)
    for part in parts:
        if isinstance(part, str):
            _check_bare(part)
            if not part.isprintable():  # nor can bytes that are not UTF-8
                raise ValueError("must be printable text in UTF-8, each on a line or after a comma")
    return parts


def _tokens(value: Any) -> Any:
    parts = _parts(value)
    return tuple(_token(part) if isinstance(part, str) else part for part in parts)


def _token(text: str) -> ApiToken:
    _check_bare(text)
    name, scopes, secret = _split_token(text)
    known = frozenset(scope for scope in get_args(Scope) if scope in scopes)
    if name is not None and (not secret or not _NAME.fullmatch(name) or scopes - known):
        raise ValueError(f"must be a token, or name:scope+scope:token with scopes of {', '.join(get_args(Scope))}")
    _check_bare(secret)
    if not _fits_a_header(secret):
        raise ValueError("must be without spaces, each on a line or after a comma")
    return ApiToken(secret) if name is None else ApiToken(secret, known, name)


def _check_bare(text: str) -> None:
    """Refuse a secret that still carries the signs of another program or a word processor. Raise ValueError."""
    if _WRAPPED.fullmatch(text) or _CURLY.search(text):
        raise ValueError("must be separated by commas or lines, without brackets around them and without curly quotes")


def _split_token(text: str) -> tuple[str | None, frozenset[str], str]:
    """Split `name:scope+scope:token`. A malformed token must not be read as a bare one, which has more scopes."""
    if ":" not in text:
        return None, frozenset(), text
    name, _, rest = text.partition(":")
    scopes, found, secret = rest.partition(":")
    return (
        name.strip(),
        frozenset(scope.strip().lower() for scope in scopes.split("+")),
        without_quotes(secret) if found else "",
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


def _networks(value: Any) -> Any:
    return tuple(_network(part) if isinstance(part, str) else part for part in _parts(value))


def _network(text: str) -> Network:
    try:
        network = ip_network(text)
    except ValueError:
        raise ValueError("must be addresses or networks, like 10.0.0.0/8 or fd00::/8, by comma") from None
    if isinstance(network, IPv6Network) and (mapped := network.network_address.ipv4_mapped) is not None:
        network = IPv4Network((mapped, max(0, network.prefixlen - 96)))  # as clients' addresses are read
    if network.prefixlen == 0:
        raise ValueError("must not be everybody: every client could then choose the address that it counts as")
    return network


def _sendable(secret: SecretStr | None) -> SecretStr | None:
    if secret is not None and not _fits_a_header(secret.get_secret_value()):
        raise ValueError("must be one token without spaces")
    return secret


def _webhook_secret(secret: SecretStr) -> None:
    """Check a Standard Webhooks secret: whsec_ and base64 of 24 to 64 bytes. Raise ValueError."""
    prefix, _, encoded = secret.get_secret_value().partition("_")
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        key = b""
    if prefix != "whsec" or not 24 <= len(key) <= 64:
        raise ValueError("must be whsec_ followed by base64 of 24 to 64 bytes")


def _webhook_secrets(secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    for secret in secrets:
        _webhook_secret(secret)
    return secrets


def _field_name(value: Any) -> Any:
    value = _sound(value)
    if isinstance(value, str) and not _PROPERTY.fullmatch(value := value.strip()):
        raise ValueError("must be the internal name of one field, without spaces")
    return value


def _conditions(value: Any) -> Any:
    """Read `property=value,value; property=value` into conditions. All of them must hold."""
    value = _sound(value)
    if not isinstance(value, str):
        return value
    conditions = []
    for part in re.split(r"[;\r\n]", without_quotes(value)):
        if not part.strip():
            continue
        name, equals, listed = part.partition("=")
        values = frozenset(text.casefold() for one in listed.split(",") if (text := without_quotes(one)))
        if not equals or not values or not _PROPERTY.fullmatch(name.strip()):
            raise ValueError("must be `property=value,value; property=value`, each property by its internal name")
        if any(_NO_VALUE.search(one) for one in values):  # no contact would ever match
            raise ValueError("must have plain values, without `=`, brackets and quotes, and `;` between two properties")
        conditions.append(Condition(name.strip(), values))
    return tuple(conditions)


def _database_url(secret: SecretStr | None) -> SecretStr | None:
    if secret is not None:
        read_postgres_url(secret.get_secret_value())  # raises what is wrong
    return secret


def _url(value: str) -> str:
    """Read an http(s) address into its one form, without its last slash, so that a path can be appended."""
    if "?" in value:
        raise ValueError("must not have a query or a fragment")
    return _target_url(value).rstrip("/")


def _target_url(value: str) -> str:
    """Read an http(s) address that is called exactly as written, with its last slash and its query."""
    url = without_quotes(value)
    if re.search(r"\s", url):
        raise ValueError("must be one address, without spaces")
    if not url.isprintable() or re.search(r"[,;\\{}<>|^`\"]", url):
        raise ValueError("must be one address, without characters that no address has")
    parsed = HttpUrl(url)  # raises what pydantic reports
    if "#" in url:
        raise ValueError("must not have a query or a fragment")
    if "@" in urlsplit(url).netloc:
        raise ValueError("must not have a user or a password")
    # pydantic repairs these forms; a vendor's library may not.
    if not re.match(r"https?://[^/:]|https?://\[", url, re.IGNORECASE) or urlsplit(url).netloc.endswith(":"):
        raise ValueError("must be https://host or https://host:port, with a path or without")
    if not _is_host(parsed.host or "") or parsed.port == 0:
        raise ValueError("must have a host and a port that can be called")
    return str(parsed)


def _is_host(host: str) -> bool:
    labels = host.removesuffix(".").split(".")
    return host.startswith("[") or (len(host) < 254 and all(map(_LABEL.fullmatch, labels)))


def _host(value: Any) -> Any:
    value = _sound(value)
    if isinstance(value, str) and not value.isprintable():
        raise ValueError("must be an address to listen on, like 0.0.0.0")
    return value


def _folder(value: Any) -> Any:
    value = _sound(value)
    try:
        return Path(value).expanduser() if isinstance(value, str | Path) else value
    except RuntimeError:
        raise ValueError("must be a folder; the home directory that ~ means is not known") from None


def _region(value: Any) -> Any:
    value = _sound(value)
    if not isinstance(value, str):
        return value
    region = read_region(tidy(value))
    if region not in phonenumbers.SUPPORTED_REGIONS:
        raise ValueError("must be a country with phone numbers of its own, as two letters of ISO 3166, like US")
    return region


def _fields(value: Any) -> Any:
    """Read `Their Name=work_email, ...` into a dict from their name to our field."""
    value = _sound(value)
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
    value = _sound(value)
    return value.strip().lower() if isinstance(value, str) else value


def _lower_parts(value: Any) -> Any:
    return [part.lower() for part in _parts(value)] if isinstance(value, str) else _sound(value)


def _level(value: Any) -> Any:
    return LEVELS.get(_lower(value), _lower(value)) if isinstance(value, str) else value


Keys = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_keys)]
Tokens = Annotated[tuple[ApiToken, ...], NoDecode, BeforeValidator(_tokens)]
Networks = Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_networks)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_lower_parts)]
Fields = Annotated[Mapping[str, str], NoDecode, BeforeValidator(_fields)]
Key = Annotated[SecretStr | None, BeforeValidator(_key)]
HeaderToken = Annotated[SecretStr | None, AfterValidator(_sendable), BeforeValidator(_key)]
DatabaseUrl = Annotated[SecretStr | None, AfterValidator(_database_url), BeforeValidator(_sound)]
WebhookSecrets = Annotated[tuple[SecretStr, ...], NoDecode, AfterValidator(_webhook_secrets), BeforeValidator(_keys)]
FieldName = Annotated[str | None, BeforeValidator(_field_name)]
Conditions = Annotated[tuple[Condition, ...], NoDecode, BeforeValidator(_conditions)]
Url = Annotated[str, AfterValidator(_url), BeforeValidator(_sound)]
TargetUrl = Annotated[str, AfterValidator(_target_url), BeforeValidator(_sound)]
Host = Annotated[str, BeforeValidator(_host)]
Folder = Annotated[Path, BeforeValidator(_folder)]
# A number that the ledger or the limiter cannot hold would fail every claim.
Credits = Annotated[Decimal, Field(ge=0, le=MOST_CREDITS), AfterValidator(cents)]
PerWindow = Annotated[int, Field(gt=0, le=MOST_REQUESTS)]
Region = Annotated[str | None, BeforeValidator(_region)]
Level = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_level)]
Lowered = Annotated[T, BeforeValidator(_lower)]
