"""Read DATABASE_URL in every form that hosts hand out, into one that asyncpg accepts.

Libraries and hosts write `postgres://`, `jdbc:postgresql://`, `host=… dbname=…`, `Server=…;Database=…`, passwords with
raw special characters, and parameters of libpq, Prisma, Npgsql or a pooler. Needed parameters are translated; of the
others `ignored` has the names that drivers know, and the number of the rest. No message repeats any part of a URL.
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
# What a value may be where a wrong one would otherwise be repeated in asyncpg's message.
CHOICES = {
    "target_session_attrs": SESSIONS,
    "sslnegotiation": ("postgres", "direct"),
    "gsslib": ("gssapi", "sspi"),
    "ssl_min_protocol_version": ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"),
    "ssl_max_protocol_version": ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"),
}
RENAMED = {
    "currentschema": "search_path", "schema": "search_path", "username": "user", "user id": "user", "userid": "user",
    "uid": "user", "passwd": "password", "pwd": "password", "database": "dbname", "db": "dbname", "server": "host",
    "data source": "host", "ssl mode": "sslmode", "root certificate": "sslrootcert",
    "ssl_mode": "sslmode", "ssl-mode": "sslmode", "ssl certificate": "sslcert", "ssl key": "sslkey",
    "search path": "search_path",
}  # fmt: skip
CREDENTIALS = {"user", "password"}
# Names that drivers and hosts use, without effect here. Any other may be a part of a password: it is only counted.
_KNOWN = """
    channel_binding connect_timeout client_encoding application_name fallback_application_name keepalives
    keepalives_idle keepalives_interval keepalives_count tcp_user_timeout replication gssencmode gssdelegation
    sslcompression sslcertmode sslsni requirepeer require_auth load_balance_hosts min_protocol_version
    max_protocol_version sslkeylogfile hostaddr
    statement_timeout lock_timeout idle_in_transaction_session_timeout timezone datestyle jit
    default_transaction_isolation default_transaction_read_only
    connection_limit pool_timeout socket_timeout sslidentity pgbouncer sslaccept ssl requiressl tls
    supa workaround serverversion charset
    applicationname logintimeout sockettimeout connecttimeout tcpkeepalive sslfactory sslresponsetimeout
    preparethreshold preparedstatementcachequeries preparedstatementcachesizemib binarytransfer targetservertype
    loadbalancehosts rewritebatchedinserts stringtype loggerlevel readonly autosave defaultrowfetchsize
    default_query_exec_mode statement_cache_capacity description_cache_capacity pool_max_conns pool_min_conns
    pool_max_conn_lifetime pool_max_conn_idle_time pool_health_check_period binary_parameters
    pool pool_size max_overflow reaping_frequency prepared_statements checkout_timeout encoding adapter
    conn_max_age conn_health_checks prepared_statement_cache_size async_fallback max min idletimeoutmillis
    connectiontimeoutmillis uselibpqcompat
    pooling timeout keepalive multiplexing enlist
"""
WITHOUT_EFFECT = frozenset(_KNOWN.split()) | {
    "minimum pool size", "maximum pool size", "min pool size", "max pool size", "connection idle lifetime",
    "connection lifetime", "command timeout", "trust server certificate", "include error detail", "application name",
    "no reset on close", "persist security info", "tcp keepalive", "integrated security", "load balance hosts",
}  # fmt: skip
FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
TRUE, FALSE = {"true", "1", "yes", "on"}, {"false", "0", "no", "off"}
SYSTEM_ROOTS = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
DEFAULT_PORT = "5432"
SHAPE = "it should look like postgresql://user:password@host:5432/name"
ENCODE = (
    "percent-encode special characters in the password (@ is %40, : is %3A, / is %2F, # is %23, ? is %3F, % is %25)"
)

_COMMAND = re.compile(r"^(?:(?:export\s+)?[A-Za-z_]\w*=(?=['\"]?[a-z+:]+://)|psql\s+(?:-d\s+)?)")
_SCHEME = re.compile(r"^(?:jdbc:)?([a-z]+)(?:\+[a-z0-9_]+)?://(.*)$", re.IGNORECASE | re.DOTALL)
_HOSTS = r"(?P<hosts>[^@/?#]*)(?:/(?P<path>[^@/?#]*)/?)?(?:\?(?P<query>[^?#]*))?$"
_STRICT = re.compile(r"^(?:(?P<user>[^@/?#:]*)(?::(?P<password>[^@/?#]*))?@)?" + _HOSTS, re.DOTALL)
_RAW = re.compile(r"^(?P<user>[^@/?#:]*):(?P<password>.*)@" + _HOSTS, re.DOTALL)
_HOST = re.compile(r"^(?:\[[\w:.%-]+\]|[\w.%-]*)(?::(?P<port>\d{1,5}))?$")
_PLACEHOLDER = re.compile(
    r"^[\[<{(].*(?:password|secret).*[\]>})]$|^\*+$|^\$(?:\{\w+\}|[A-Z_]*(?:PASS|PW|SECRET)\w*)$", re.IGNORECASE
)
# `Server=…;Database=…` as ADO.NET writes it: a quote inside quotes is doubled.
_PAIR = re.compile(r"""\s*([^=;"']+)=\s*(?:"((?:[^"]|"")*)"|'((?:[^']|'')*)'|([^;"'][^;]*|))\s*(?:;|$)""")
# A first value that another word follows: libpq's form, in which a semicolon is a character like any other.
_AS_WORDS = re.compile(r"""^\s*\w+\s*=\s*(?:'(?:[^'\\]|\\.)*'\s+\w+\s*=|(?!['"\s])[^;]*?\s\w+\s*=)""", re.DOTALL)
_WORD = re.compile(r"\s*([A-Za-z_]+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:[^\s\\']|\\.)*))(?=\s|$)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class PostgresUrl:
    """A URL that asyncpg accepts, and the rest of the given URL's information."""

    url: str
    keeps_statements: bool  # False: behind a pooler that cannot keep prepared statements apart
    ignored: tuple[str, ...]  # names of parameters without effect here


def read_postgres_url(text: str) -> PostgresUrl:
    """Read *text*. Raise ValueError, which says what to change. Reading a result again changes nothing."""
    if not _is_utf8(text):
        raise ValueError(f"it holds bytes that are no UTF-8 text; {ENCODE}")
    text = _unquoted(_COMMAND.sub("", _unquoted(text)))
    if (scheme := _SCHEME.match(text)) is None:
        given = _words(text)
        authority = ""
    elif scheme[1].lower() not in SCHEMES:
        raise ValueError(f"its scheme is not PostgreSQL's; {SHAPE}")
    else:
        authority, given = _parts(scheme[2])
    if not authority and "host" not in map(_name, given):
        # Else the host's name is needed, to verify the server's certificate.
        given = {("host" if _name(name) == "hostaddr" else name): value for name, value in given.items()}
    parameters, ignored = _translated(given)
    if _PLACEHOLDER.match(parameters.get("password", "")):
        raise ValueError("it has a placeholder instead of the password; put in the real one")
    keeps = parameters.pop("statement_cache_size", "") != "0"
    if not keeps:
        parameters["statement_cache_size"] = "0"
    return PostgresUrl(_written(authority, parameters), keeps, tuple(ignored))


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a byte of the environment that Python could not decode
        return False
    return True


def _unquoted(text: str) -> str:
    text = text.strip().rstrip(";").strip()
    while len(text) > 1 and text[0] == text[-1] and text[0] in "'\"`":
        text = text[1:-1].strip()
    return text


def _parts(rest: str) -> tuple[str, dict[str, str]]:
    """Split what follows the scheme into the hosts and everything else."""
    found = _matched(_STRICT, rest)
    if found is None or _may_hide_a_password(found):
        found = _matched(_RAW, rest) or found
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


def _may_hide_a_password(found: re.Match[str]) -> bool:
    """Tell whether u:1234?x=y@h/name may mean the password 1234?x=y instead of the port 1234."""
    query = found["query"] or ""
    return found["user"] is None and "@" in query and not {_name(one) for one in _query(query)} & CREDENTIALS


def _query(query: str) -> dict[str, str]:
    """Read a query. Hosts and ports that are given one by one make a list, as in SQLAlchemy; else the last one wins."""
    given: dict[str, str] = {}
    for pair in filter(None, query.replace("&amp;", "&").split("&")):
        name, value = map(unquote, pair.partition("=")[::2])
        before = given.get(name) if _name(name) in {"host", "port"} else None
        given[name] = f"{before},{value}" if before else value
    return given


def _name(written: str) -> str:
    name = " ".join(written.lower().split())
    return RENAMED.get(name, name)


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
    if ";" in text and not _AS_WORDS.match(text):
        return _pairs(text)
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


def _pairs(text: str) -> dict[str, str]:
    given, at = {}, 0
    while text[at:].strip("; \t\r\n"):
        pair = _PAIR.match(text, at)
        if pair is None:
            raise ValueError(
                "it cannot be read: put a value that holds ; or a quote between double quotes, and double those "
                f"inside; or {SHAPE}"
            )
        name, double, single, plain = pair.groups()
        value = double.replace('""', '"') if double is not None else single and single.replace("''", "'")
        given[name.strip()] = (plain or "").strip() if value is None else value
        at = pair.end()
    return given


def _translated(given: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Translate the parameters into asyncpg's, and list those without effect here."""
    parameters: dict[str, str] = {}
    ignored, unknown = [], 0
    for written, value in given.items():
        name = _name(written)
        if name in KEPT and value:
            parameters.setdefault(name, value)
        elif not (_translate_ssl(name, value, parameters) or _translate_pooler(name, value, parameters)):
            if name in KEPT or name in WITHOUT_EFFECT:
                ignored.append(name)
            else:
                unknown += 1
    if unknown:
        ignored.append(f"{unknown} unknown")
    _check_ssl(parameters)
    _check_files(parameters)
    for name, choices in CHOICES.items():
        if parameters.get(name, choices[0]) not in choices:
            raise ValueError(f"its {name} is none of {', '.join(choices)}")
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


def _check_files(parameters: dict[str, str]) -> None:
    """Check the files for TLS, which asyncpg would only miss at the connection. Raise ValueError."""
    if parameters.get("sslmode") == "disable":
        return
    for name in FILES:
        if name in parameters:
            parameters[name] = _readable(name, parameters[name])
    for name in ("sslrootcert", "sslcert", "sslcrl"):
        try:
            if name in parameters:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=parameters[name])
        except (OSError, ValueError):  # also ssl.SSLError
            raise ValueError(f"its {name} names a file that holds no certificate in PEM") from None
    if "sslcert" in parameters and "sslkey" in parameters:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(
                parameters["sslcert"], parameters["sslkey"], parameters.get("sslpassword", "")
            )
        except (OSError, ValueError):
            raise ValueError("its sslkey is not the key of its sslcert, or needs another sslpassword") from None


def _readable(name: str, path: str) -> str:
    try:
        found = Path(path).expanduser()
        with found.open("rb"):
            return str(found)
    except (OSError, RuntimeError, ValueError):
        raise ValueError(f"its {name} names no file that can be read here; give the whole path") from None


def _check_numbers(parameters: Mapping[str, str]) -> None:
    for port in parameters.get("port", "").split(","):
        _check_port(port)
    if not parameters.get("statement_cache_size", "0").isdecimal():
        raise ValueError("its statement_cache_size is not a number")


def _check_port(port: str) -> None:
    if port and not (port.isdecimal() and len(port) <= 5 and 0 < int(port) < 65_536):
        raise ValueError("its port is not a number from 1 to 65535")


def _written(authority: str, parameters: dict[str, str]) -> str:
    user, password = (quote(parameters.pop(name, ""), safe="") for name in ("user", "password"))
    database = quote(parameters.pop("dbname", ""), safe="")
    host, port = parameters.pop("host", ""), parameters.pop("port", "")
    if host or port:
        addresses = _addresses(authority, host, port)
        authority = ""
        if any("/" in name for name, _ in addresses):  # a socket's folder
            where = {"host": ",".join(name for name, _ in addresses)}
            if any(port for _, port in addresses):
                where["port"] = ",".join(port or DEFAULT_PORT for _, port in addresses)
            parameters = where | parameters  # statement_cache_size stays the last
        else:
            names = [(f"[{name}]" if ":" in name else quote(name, safe=""), port) for name, port in addresses]
            authority = ",".join(f"{name}:{port}" if port else name for name, port in names)
    who = f"{user}:{password}@" if password else f"{user}@" if user else ""
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters.items())
    return f"postgresql://{who}{authority}/{database}{'?' if query else ''}{query}"


def _addresses(authority: str, host: str, port: str) -> list[tuple[str, str]]:
    """Pair hosts with their ports. As in libpq, parameters replace the hosts and the ports before the path."""
    before = [_address(unquote(one)) for one in authority.split(",")]
    given = [_address(one) for one in host.split(",")] if host else [(name, "") for name, _ in before]
    ports = port.split(",") if port else [port for _, port in before] if host else [""]
    each = ports * len(given) if len(ports) == 1 else ports
    if len(each) != len(given):
        raise ValueError("it names hosts and ports, but not as many of each")
    return [(name, own or port) for (name, own), port in zip(given, each, strict=True)]


def _address(text: str) -> tuple[str, str]:
    """Split host:port, [::1]:port, or either without a port. Raise ValueError."""
    name, colon, port = text.rpartition(":")
    if "/" in text or not colon or (":" in name and not name.endswith("]")):
        name, port = text, ""
    _check_port(port)
    return name.removeprefix("[").removesuffix("]"), port
