"""Read DATABASE_URL in every form that hosts hand out, into one that asyncpg accepts.

Libraries and hosts write `postgres://`, `jdbc:postgresql://`, `host=… dbname=…`, `Server=…;Database=…`, passwords with
raw special characters, and parameters of libpq, Prisma, Npgsql or a pooler. Needed parameters are translated; the
others are listed in `ignored`. No message repeats any part of a URL.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

SCHEMES = {"postgres", "postgresql", "pgsql", "postgis", "ecto"}
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
SESSIONS = ("any", "primary", "standby", "read-write", "read-only", "prefer-standby")
# Parameters that asyncpg, or the server at the start of a session, understands as they are.
KEPT = {
    "host", "port", "user", "password", "dbname", "passfile", "service", "sslmode", "sslcert", "sslkey", "sslrootcert",
    "sslcrl", "sslpassword", "sslnegotiation", "ssl_min_protocol_version", "ssl_max_protocol_version",
    "target_session_attrs", "krbsrvname", "gsslib", "options", "search_path", "role", "synchronous_commit",
    "statement_cache_size",
}  # fmt: skip
RENAMED = {
    "currentschema": "search_path", "schema": "search_path", "username": "user", "user id": "user", "userid": "user",
    "uid": "user", "passwd": "password", "pwd": "password", "database": "dbname", "db": "dbname", "server": "host",
    "data source": "host", "hostaddr": "host", "ssl mode": "sslmode", "root certificate": "sslrootcert",
    "ssl_mode": "sslmode", "ssl-mode": "sslmode", "ssl certificate": "sslcert", "ssl key": "sslkey",
}  # fmt: skip
TRUE, FALSE = {"true", "1", "yes", "on"}, {"false", "0", "no", "off"}
SYSTEM_ROOTS = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
SHAPE = "it should look like postgresql://user:password@host:5432/name"
ENCODE = (
    "percent-encode special characters in the password (@ is %40, : is %3A, / is %2F, # is %23, ? is %3F, % is %25)"
)

_COMMAND = re.compile(r"^(?:(?:export\s+)?[A-Za-z_]\w*=(?=['\"]?[a-z+:]+://)|psql\s+(?:-d\s+)?)")
_SCHEME = re.compile(r"^(?:jdbc:)?([a-z]+)(?:\+[a-z0-9_]+)?://(.*)$", re.IGNORECASE | re.DOTALL)
_HOSTS = r"(?P<hosts>[^@/?#]*)(?:/(?P<path>[^@/?#]*)/?)?(?:\?(?P<query>[^?#]*))?$"
_STRICT = re.compile(r"^(?:(?P<user>[^@/?#:]*)(?::(?P<password>[^@/?#]*))?@)?" + _HOSTS, re.DOTALL)
_RAW = re.compile(r"^(?P<user>[^@/?#:]*):(?P<password>.*)@" + _HOSTS, re.DOTALL)
_HOST = re.compile(r"^(?:\[[0-9a-fA-F:.%]+\]|[\w.%-]*)(?::(?P<port>\d{1,5}))?$")
_PLACEHOLDER = re.compile(
    r"^[\[<{(].*(?:password|secret).*[\]>})]$|^\*+$|^\$(?:\{\w+\}|[A-Z_]*(?:PASS|PW|SECRET)\w*)$", re.IGNORECASE
)
_WORD = re.compile(r"\s*([A-Za-z_]+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:[^\s\\']|\\.)*))(?=\s|$)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class PostgresUrl:
    """A URL that asyncpg accepts, and the rest of the given URL's information."""

    url: str
    keeps_statements: bool  # False: behind a pooler that cannot keep prepared statements apart
    ignored: tuple[str, ...]  # names of parameters without effect here


def read_postgres_url(text: str) -> PostgresUrl:
    """Read *text*. Raise ValueError, which says what to change. Reading a result again changes nothing."""
    text = _unquoted(_COMMAND.sub("", _unquoted(text)))
    if (scheme := _SCHEME.match(text)) is None:
        given = _words(text)
        authority = ""
    elif scheme[1].lower() not in SCHEMES:
        raise ValueError(f"its scheme is not PostgreSQL's; {SHAPE}")
    else:
        authority, given = _parts(scheme[2])
    parameters, ignored = _translated(given)
    if _PLACEHOLDER.match(parameters.get("password", "")):
        raise ValueError("it has a placeholder instead of the password; put in the real one")
    keeps = parameters.pop("statement_cache_size", "") != "0"
    if not keeps:
        parameters["statement_cache_size"] = "0"
    return PostgresUrl(_written(authority, parameters), keeps, tuple(ignored))


def _unquoted(text: str) -> str:
    text = text.strip().rstrip(";").strip()
    while len(text) > 1 and text[0] == text[-1] and text[0] in "'\"`":
        text = text[1:-1].strip()
    return text


def _parts(rest: str) -> tuple[str, dict[str, str]]:
    """Split what follows the scheme into the hosts and everything else."""
    found = next((m for m in map(_matched, (_STRICT, _RAW), (rest, rest)) if m), None)
    if found is None:
        raise ValueError(f"it cannot be read: {ENCODE}; {SHAPE}")
    given = _query(found["query"] or "")
    for name, value in (("user", found["user"]), ("password", found["password"]), ("dbname", found["path"])):
        if value:
            given[name] = _decoded(value)
    return found["hosts"], given


def _matched(pattern: re.Pattern[str], rest: str) -> re.Match[str] | None:
    """Match, but return None if the hosts or parameters are implausible: then they are part of a raw password."""
    found = pattern.match(rest)
    if found is None or any("=" not in pair for pair in (found["query"] or "").split("&") if pair):
        return None
    for host in found["hosts"].split(","):
        one = _HOST.match(host)
        if one is None or (one["port"] and not 0 < int(one["port"]) < 65_536):
            return None
    return found


def _query(query: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in query.replace("&amp;", "&").split("&") if pair)
    return {unquote(name): unquote(value) for name, _, value in pairs}


def _decoded(text: str) -> str:
    """Decode *text* if all its percent signs are escapes; a raw password stays as it is."""
    if re.search(r"%(?![0-9a-fA-F]{2})", text):
        return text
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return text


def _words(text: str) -> dict[str, str]:
    """Read libpq's `host=… dbname=…`, or `Server=…;Database=…`."""
    if ";" in text and re.match(r"^[A-Za-z ]+=", text) and "'" not in text:
        pairs = (pair.partition("=") for pair in text.split(";") if pair.strip())
        return {name.strip(): value.strip() for name, _, value in pairs}
    given, at = {}, 0
    while at < len(text):
        word = _WORD.match(text, at)
        if word is None:
            raise ValueError(f"it cannot be read; {SHAPE}")
        value = word[2] if word[2] is not None else word[3]
        given[word[1]] = re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)
        at = word.end()
    if not given:
        raise ValueError(f"it is empty; {SHAPE}")
    return given


def _translated(given: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Translate the parameters into asyncpg's, and list those without effect here."""
    parameters: dict[str, str] = {}
    ignored = []
    for written, value in given.items():
        name = RENAMED.get(written.lower(), written.lower())
        if name in KEPT and value:
            parameters.setdefault(name, value)
        elif not (_translate_ssl(name, value, parameters) or _translate_pooler(name, value, parameters)):
            ignored.append(re.sub(r"\W", "", name)[:40])
    _check_ssl(parameters)
    if parameters.get("target_session_attrs", "any") not in SESSIONS:
        raise ValueError(f"its target_session_attrs is none of {', '.join(SESSIONS)}")
    _check_numbers(parameters)
    return parameters, ignored


def _translate_ssl(name: str, value: str, parameters: dict[str, str]) -> bool:
    """Translate another library's parameter for TLS; return whether it was one."""
    if (name == "sslaccept" and value == "accept_invalid_certs") or (
        name in {"ssl", "requiressl", "tls"} and value.lower() in TRUE
    ):
        parameters.setdefault("sslmode", "require")
    elif name in {"ssl", "tls"} and value.lower().replace("_", "-") in (*SSL_MODES, "no-verify"):
        parameters.setdefault("sslmode", value)
    else:
        return False
    return True


def _translate_pooler(name: str, value: str, parameters: dict[str, str]) -> bool:
    """Translate a parameter that says that a pooler cannot keep prepared statements; return whether it was one."""
    if (name == "pgbouncer" and value.lower() in TRUE) or (
        name in {"preparethreshold", "prepared_statement_cache_size"} and value == "0"
    ) or (name == "prepared_statements" and value.lower() in FALSE):  # fmt: skip
        parameters["statement_cache_size"] = "0"
        return True
    return False


def _check_ssl(parameters: dict[str, str]) -> None:
    """Bring sslmode and sslrootcert into asyncpg's form. Raise ValueError."""
    if parameters.get("sslrootcert") == "system":
        parameters["sslrootcert"] = _system_roots()
        parameters.setdefault("sslmode", "verify-full")
    if mode := parameters.get("sslmode", "").lower().replace("_", "-"):
        mode = {"no-verify": "require", "verifyca": "verify-ca", "verifyfull": "verify-full"}.get(mode, mode)
        if mode not in SSL_MODES:
            raise ValueError(f"its sslmode is none of {', '.join(SSL_MODES)}")
        parameters["sslmode"] = mode


def _system_roots() -> str:
    known = (ssl.get_default_verify_paths().cafile, *SYSTEM_ROOTS)
    found = next((path for path in known if path and Path(path).exists()), None)
    if found is None:
        raise ValueError("its sslrootcert=system finds no certificates of the system; name their file")
    return found


def _check_numbers(parameters: Mapping[str, str]) -> None:
    for port in parameters.get("port", "").split(","):
        if port and not (port.isdecimal() and 0 < int(port) < 65_536):
            raise ValueError("its port is not a number from 1 to 65535")
    if not parameters.get("statement_cache_size", "0").isdecimal():
        raise ValueError("its statement_cache_size is not a number")


def _written(hosts: str, parameters: dict[str, str]) -> str:
    user, password = (quote(parameters.pop(name, ""), safe="") for name in ("user", "password"))
    database = quote(parameters.pop("dbname", ""), safe="")
    if not hosts and "/" not in parameters.get("host", ""):
        hosts = _with_ports(parameters.pop("host", ""), parameters.pop("port", ""))
    who = f"{user}:{password}@" if password else f"{user}@" if user else ""
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters.items())
    return f"postgresql://{who}{hosts}/{database}{'?' if query else ''}{query}"


def _with_ports(hosts: str, ports: str) -> str:
    """Join libpq's lists of hosts and ports into one."""
    given = ports.split(",")
    names = [f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host for host in hosts.split(",")]
    each = given * len(names) if len(given) == 1 else given
    if len(each) != len(names):
        raise ValueError("it names hosts and ports, but not as many of each")
    return ",".join(f"{name}:{port}" if port else name for name, port in zip(names, each, strict=True))
