"""DATABASE_URL in every form that hosts and libraries hand out."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from asyncpg import connect_utils

from enrichment.postgres_url import read_postgres_url
from rig.postgres import execute
from store.database import connect

PASSWORDS = (
    "plain", "p@ss", "p:ss", "p/ss", "p#ss", "p?ss", "p%ss", "p@ss/w@rd", "a/b?c#d@e:f%g", "1?x", "5432/a", "100%", "@",
    "[x]", "pass word", "p&q=r", "p@host.test:5432/db", "ü€", "a+b", "//", "x@y.z/w",
)  # fmt: skip


def understood(text: str) -> dict[str, Any]:
    """Read *text* as we do, and then as asyncpg does."""
    read: Any = connect_utils
    addresses, parameters, *_ = read._parse_connect_dsn_and_args(
        dsn=read_postgres_url(text).url.replace("&statement_cache_size=0", "").replace("?statement_cache_size=0", ""),
        host=None, port=None, user=None, password=None, passfile=None, database=None, ssl=None, service=None,
        servicefile=None, direct_tls=None, server_settings=None, target_session_attrs=None, krbsrvname=None,
        gsslib=None,
    )  # fmt: skip
    return {"addresses": addresses} | {
        name: getattr(parameters, name)
        for name in ("user", "password", "database", "ssl", "server_settings", "target_session_attrs")
    }


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("scheme", ["postgres", "postgresql+asyncpg"])
def test_a_raw_password_is_the_password(scheme: str, password: str) -> None:
    """A password with characters that a URL reserves works as it is (amacneil/dbmate#466, coroot-pg-agent#13)."""
    read = understood(f"{scheme}://me:{password}@db.test:6543/name?sslmode=disable")

    assert (read["user"], read["password"], read["database"]) == ("me", password, "name")
    assert read["addresses"] == [("db.test", 6543)]


@pytest.mark.parametrize("password", PASSWORDS)
def test_an_encoded_password_is_the_password(password: str) -> None:
    """Percent-encoding, as the standard wants it, is decoded once, and reading twice changes nothing."""
    url = read_postgres_url(f"postgres://me:{quote(password, safe='')}@db.test/name").url

    assert understood(url)["password"] == password
    assert read_postgres_url(url).url == url


@pytest.mark.parametrize(
    "text",
    [
        "postgres://me:secret@db.test:5432/name",
        "postgresql://me:secret@db.test:5432/name",
        "postgresql+psycopg2://me:secret@db.test:5432/name",
        "postgresql+psycopg://me:secret@db.test:5432/name",
        "POSTGRES://me:secret@db.test:5432/name",
        "postgres://me:secret@db.test:5432/name/",
        "postgis://me:secret@db.test:5432/name",
        "ecto://me:secret@db.test:5432/name",
        "jdbc:postgresql://db.test:5432/name?user=me&password=secret",
        "jdbc:postgresql://me:secret@db.test:5432/name",
        " postgres://me:secret@db.test:5432/name\n",
        '"postgres://me:secret@db.test:5432/name"',
        "'postgres://me:secret@db.test:5432/name'\r\n",
        "psql 'postgresql://me:secret@db.test:5432/name'",
        "DATABASE_URL=postgres://me:secret@db.test:5432/name",
        'export DATABASE_URL="postgres://me:secret@db.test:5432/name"',
        "host=db.test port=5432 user=me password=secret dbname=name",
        "host = db.test user='me' password = 'secret' dbname=name port=5432",
        'psql "host=db.test port=5432 dbname=name user=me password=secret"',
        "Server=db.test;Database=name;Port=5432;User Id=me;Password=secret;",
        "Host=db.test;Username=me;Password=secret;Database=name",
        "Host=db.test;Username=me;Password='secret';Database=\"name\"",
        "Password='secret' ; Host = db.test ; Username = me ; Database = name ; Max Pool Size = 5",
        "host=db.test hostaddr=127.0.0.1 user=me password=secret dbname=name",
    ],
)
def test_every_way_to_write_it_is_read(text: str) -> None:
    """URLs of Heroku, Neon, Supabase, RDS, Render and Azure are read (tortoise/tortoise-orm#1376, neonctl#366)."""
    read = understood(text)

    assert (read["addresses"], read["user"], read["password"], read["database"]) == (
        [("db.test", 5432)], "me", "secret", "name",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("query", "ignored"),
    [
        ("channel_binding=require", ["channel_binding"]),
        ("connect_timeout=10", ["connect_timeout"]),
        ("keepalives=1&keepalives_idle=30&keepalives_count=3", ["keepalives", "keepalives_idle", "keepalives_count"]),
        ("gssencmode=disable", ["gssencmode"]),
        ("sslcompression=0", ["sslcompression"]),
        ("fallback_application_name=x&application_name=y", ["fallback_application_name", "application_name"]),
        ("connection_limit=1&pool_timeout=0", ["connection_limit", "pool_timeout"]),
        ("supa=base-pooler.x&workaround=supabase-pooler.vercel", ["supa", "workaround"]),
        ("serverVersion=16&charset=utf8", ["serverversion", "charset"]),
        ("tcp_user_timeout=5&require_auth=scram-sha-256&sslsni=1", ["tcp_user_timeout", "require_auth", "sslsni"]),
        ("a_parameter_of_tomorrow=1&charset=utf8&another=2", ["charset", "2 unknown"]),  # perhaps part of a password
        ("sslmode=", ["sslmode"]),
    ],
)
def test_what_asyncpg_lacks_is_ignored_with_a_word(query: str, ignored: list[str]) -> None:
    """No parameter reaches the server as a configuration parameter that it does not know (t8y2/dbx#1210)."""
    url = f"postgres://me:secret@db.test/name?{query}"

    assert list(read_postgres_url(url).ignored) == ignored
    assert understood(url)["server_settings"] is None


@pytest.mark.parametrize(
    ("query", "encrypted", "verified"),
    [
        ("sslmode=require", True, False),
        ("sslmode=no-verify", True, False),
        ("sslmode=REQUIRE", True, False),
        ("ssl=true", True, False),
        ("ssl=require", True, False),
        ("requiressl=1", True, False),
        ("sslaccept=accept_invalid_certs", True, False),
        ("sslrootcert=system", True, True),
        ("sslmode=verify-full&sslrootcert=system", True, True),
        ("ssl=no-verify", True, False),
        ("sslmode=disable", False, False),
        ("ssl_mode=disable", False, False),
        ("ssl-mode=disable", False, False),
        ("connect_timeout=10&amp;sslmode=disable", False, False),
        ("sslmode=require&channel_binding=require", True, False),
    ],
)
def test_encryption_is_what_was_asked_for(query: str, encrypted: bool, verified: bool) -> None:
    """Each library's way to ask for TLS is understood (Heroku: no-verify; MagicStack/asyncpg#1151)."""
    context = understood(f"postgres://me:secret@db.test/name?{query}")["ssl"]

    assert bool(context) == encrypted
    assert bool(context and context.check_hostname) == verified


def test_what_the_server_needs_reaches_it() -> None:
    """Neon's endpoint, Prisma's schema and several hosts keep their meaning."""
    read = understood("postgres://me:x@a.test:1,b.test:2/n?options=endpoint%3Dfoo&schema=mine&target_session_attrs=any")

    assert read["addresses"] == [("a.test", 1), ("b.test", 2)]
    assert read["server_settings"] == {"options": "endpoint=foo", "search_path": "mine"}
    assert read["target_session_attrs"].value == "any"
    assert understood("host=a,b port=1,2 user=me dbname=n")["addresses"] == [("a", 1), ("b", 2)]
    assert understood("host=::1 user=me dbname=n")["addresses"] == [("::1", 5432)]
    assert understood("postgres://me@/n?host=/tmp")["addresses"] == ["/tmp/.s.PGSQL.5432"]  # noqa: S108  not used
    assert understood("host=/tmp user=me dbname=n")["addresses"] == ["/tmp/.s.PGSQL.5432"]  # noqa: S108


@pytest.mark.parametrize(
    ("text", "password"),
    [
        ('Host=h;Port=1;Database=d;Username=u;Password="p;hunter2"', "p;hunter2"),
        ("Password='p;hunter2';Host=h;Database=d;Username=u", "p;hunter2"),
        ('Password="p;""hunter2""";Host=h;Database=d;Username=u', 'p;"hunter2"'),
        ("Host=h;Password='it''s;hunter2';Username=u;Database=d", "it's;hunter2"),
        ("Password='a b=hunter2';Host=h;Username=u;Database=d", "a b=hunter2"),
        ("Host=h;Password=it's=hunter2;Username=u;Database=d", "it's=hunter2"),
        ("host=h user=u password=p;hunter2 dbname=d", "p;hunter2"),
        ("host='h' user=u password='p;hunter2' dbname=d", "p;hunter2"),
        ("password='p;hunter2' host=h user=u dbname=d", "p;hunter2"),
        ("jdbc:postgresql://h/d?user=u&password=p&hunter2=w", "p"),
        ("Host=h;Username=u;Database=d;Password=p;hunter2=w", "p"),
        ("postgres://u:1234?hunter2=y@h/d", "1234?hunter2=y"),
        ("postgres://u:123/abc?hunter2=b@h/d", "123/abc?hunter2=b"),
        ("postgres://u:1?a=b&hunter2=c@h:5432/d?sslmode=disable", "1?a=b&hunter2=c"),
    ],
)
def test_a_password_with_the_signs_of_its_form_is_whole(text: str, password: str) -> None:
    """A semicolon, a quote or a question mark in it neither ends it nor makes a parameter's name of its rest."""
    read = understood(text)

    assert (read["addresses"][0][0], read["user"], read["database"]) == ("h", "u", "d")
    assert read["password"] == password
    assert "hunter2" not in " ".join(read_postgres_url(text).ignored)


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("postgresql://u@localhost/d?host=/cloudsql/x", ["/cloudsql/x/.s.PGSQL.5432"]),
        ("postgresql://u@localhost:6543/d?host=/cloudsql/x", ["/cloudsql/x/.s.PGSQL.6543"]),
        ("postgresql://u@%2Fcloudsql%2Fx/d", ["/cloudsql/x/.s.PGSQL.5432"]),
        ("postgresql://u@/d?host=/cloudsql/p:r:x", ["/cloudsql/p:r:x/.s.PGSQL.5432"]),
        ("postgresql://u@a/d?host=b", [("b", 5432)]),
        ("postgresql://u@a:1/d?port=2", [("a", 2)]),
        ("postgresql://u@a:1,b:2/d?port=3", [("a", 3), ("b", 3)]),
        ("postgresql://u@a/d?hostaddr=127.0.0.1", [("a", 5432)]),
        ("postgresql://u@/d?hostaddr=127.0.0.1", [("127.0.0.1", 5432)]),
        ("postgresql+psycopg2://u:p@/d?host=HostA:5432&host=HostB:5433", [("HostA", 5432), ("HostB", 5433)]),
        ("postgresql+psycopg2://u:p@/d?host=A&port=1&host=B&port=2", [("A", 1), ("B", 2)]),
        ("postgresql://u@/d?host=[::1]:1&host=::2", [("::1", 1), ("::2", 5432)]),
        ("postgresql://u@/d?host=/run/x,b&port=1,2", ["/run/x/.s.PGSQL.1", ("b", 2)]),
    ],
)
def test_hosts_in_parameters_win(text: str, addresses: list[object]) -> None:
    """As in libpq they replace those before the path; and each of several that SQLAlchemy repeats is one more."""
    assert understood(text)["addresses"] == addresses
    assert read_postgres_url(read_postgres_url(text).url).url == read_postgres_url(text).url


@pytest.mark.parametrize("name", ["sslrootcert", "sslcert", "sslkey", "sslcrl"])
@pytest.mark.parametrize("path", ["/nowhere/hunter2.pem", "~/hunter2.pem", "$HOME/hunter2.pem", "hunter2.pem", "/"])
def test_a_file_that_cannot_be_read_is_named_by_its_parameter(name: str, path: str) -> None:
    """A process would wait for it for ever."""
    with pytest.raises(ValueError, match=f"its {name} names no file") as refused:
        read_postgres_url(f"postgres://me@db.test/name?sslmode=require&{name}={path}")

    assert "hunter2" not in str(refused.value)
    read_postgres_url(f"postgres://me@db.test/name?sslmode=disable&{name}={path}")


def test_a_file_without_a_certificate_is_named_by_its_parameter(tmp_path: Path) -> None:
    """A key that belongs to no certificate is named, too."""
    (tmp_path / "empty.pem").write_text("no certificate")
    roots = read_postgres_url("postgres://me@db.test/name?sslrootcert=system").url.partition("sslrootcert=")[2]
    roots = roots.partition("&")[0]

    for name in ("sslrootcert", "sslcert", "sslcrl"):
        with pytest.raises(ValueError, match=f"its {name} names a file that holds no certificate"):
            read_postgres_url(f"postgres://me@db.test/name?{name}={tmp_path}/empty.pem")
    with pytest.raises(ValueError, match="its sslkey is not the key"):
        read_postgres_url(f"postgres://me@db.test/name?sslcert={roots}&sslkey={tmp_path}/empty.pem")


def test_a_home_directory_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """~ is the home directory, as in a shell."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "my.key").write_text("a key")

    assert quote(f"{tmp_path}/my.key", safe="") in read_postgres_url("postgres://me@db.test/name?sslkey=~/my.key").url


@pytest.mark.parametrize(
    "query", ["pgbouncer=true", "statement_cache_size=0", "prepareThreshold=0", "prepared_statements=false"]
)
def test_a_pooler_that_keeps_no_statements_is_believed(query: str) -> None:
    """Prisma, Rails and JDBC each have a word for it."""
    assert not read_postgres_url(f"postgres://me:secret@db.test/name?{query}").keeps_statements
    assert read_postgres_url("postgres://me:secret@db.test/name").keeps_statements


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mysql://me:s3cret@db.test/name", "scheme"),
        ("s3cret", "should look like"),
        ("postgres://me:s3cret@db.test:99999/name", "percent-encode"),
        ("postgres://me:s3cret@db.test:port/name", "percent-encode"),
        ("postgres://me:s3cret@db.test/name?sslmode=s3cret", "sslmode"),
        ("postgres://me:s3cret@db.test/name?target_session_attrs=s3cret", "target_session_attrs"),
        ("postgres://me:[YOUR-PASSWORD]@db.test/name", "placeholder"),
        ("postgres://me:${DB_PASSWORD}@db.test/name", "placeholder"),
        ("postgres://me:$PGPASSWORD@db.test/name", "placeholder"),
        ("host=s3cret port=s3cret", "port"),
        ("host=a,b port=1,2,3 password=s3cret", "as many"),
        ("postgres://me:s3 cret", "percent-encode"),
        ("Host=h;Username=u;Password=p;s3cret", "double quotes"),
        ('Host=h;Username=u;Password="p"s3cret', "double quotes"),
        ("Host=h;Username=u;Password='s3cret", "double quotes"),
        ("jdbc:postgresql://h/db?user=u&password=p&s3cret", "percent-encode"),
        ("postgres://me:s3cret\udcff@db.test/name", "UTF-8"),
        ("postgres://me@db.test/name?gsslib=s3cret", "gsslib"),
        ("postgres://me@db.test/name?sslnegotiation=s3cret", "sslnegotiation"),
        ("postgres://me@db.test/name?ssl_min_protocol_version=s3cret", "ssl_min_protocol_version"),
        ("postgres://me@/name?host=db.test:s3cret", "port"),
    ],
)
def test_what_cannot_be_read_says_what_to_change(text: str, words: str) -> None:
    """And repeats nothing of it: any part may be the password."""
    with pytest.raises(ValueError, match=words) as refused:
        read_postgres_url(text)

    assert "s3" not in str(refused.value)


def test_a_long_text_is_read_in_time() -> None:
    """Nothing in it makes us slow."""
    spaces = " " * 50_000
    for text in (
        "a=" * 50_000, "postgres://" + "@:" * 50_000, "x " * 50_000, "postgres://u:" + "/?" * 50_000 + "@h/d",
        f"a={spaces};", f"a{spaces};", f"a=;b{spaces}c", f"a='{spaces}';", f"a=b{spaces};", "a= b" * 20_000 + ";",
    ):  # fmt: skip
        try:
            read_postgres_url(text)
        except ValueError:
            continue


async def test_a_raw_password_opens_the_door(server_url: str) -> None:
    """A URL with a raw password, and everything that Neon adds, leads to the server that it names."""
    parts = urlsplit(server_url)
    if not parts.query:
        pytest.skip("the server of TEST_DATABASE_URL is not reached by a socket")
    await execute(server_url, "DROP ROLE IF EXISTS raw", "CREATE ROLE raw LOGIN PASSWORD 'p@ss/w#rd'")

    connection = await connect(
        f"postgres://raw:p@ss/w#rd@/postgres?{parts.query}&channel_binding=require", name="tests"
    )
    assert await connection.fetchval("SELECT current_user") == "raw"
    await connection.close()
