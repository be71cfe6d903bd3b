"""The settings: all that is wrong is named at once, by the name to set, and no secret is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from enrichment.setting_types import ApiToken
from enrichment.settings import Settings, SettingsError
from tests.bare_settings import problems

pytestmark = pytest.mark.usefixtures("bare")


def test_what_is_needed_is_enough(environment: pytest.MonkeyPatch) -> None:
    """With the needed settings alone every role starts, with DESIGN's defaults for the rest."""
    settings = Settings.load("submitter")

    assert Settings.load("receiver") == settings
    assert (settings.provider_timeout_seconds, settings.lease_seconds, settings.max_attempts) == (30, 20, 8)
    assert (settings.callback_grace_seconds, settings.job_deadline_hours) == (60, 24)
    assert (settings.reuse_found_days, settings.reuse_not_found_days) == (90, 30)
    assert (settings.unknown_policy, settings.providers) == ("next", ("leadmagic", "nyne"))


def test_lists_are_split_and_urls_lose_their_last_slash(environment: pytest.MonkeyPatch) -> None:
    """Several tokens and keys are separated by commas; an address is kept in its one form."""
    settings = Settings.load("receiver")

    assert [token.get_secret_value() for token in settings.api_tokens] == ["token-1", "token-2"]
    assert [key.get_secret_value() for key in settings.callback_keys] == ["new-key", "old-key"]
    assert settings.public_url == "https://ringback.test"


def test_everything_missing_is_named_at_once() -> None:
    """A submitter without anything says all it needs; so does a receiver."""
    assert set(problems("submitter")) == {"LEADMAGIC_API_KEY", "NYNE_API_KEY", "NYNE_API_SECRET"}
    assert set(problems("receiver")) == {"API_TOKENS"}


def test_what_is_wrong_is_named_together_with_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """One message has it all: the wrong values and the missing ones."""
    monkeypatch.setenv("PORT", "eighty")
    monkeypatch.setenv("UNKNOWN_POLICY", "hope")
    monkeypatch.setenv("DEFAULT_REGION", "ZZ")
    monkeypatch.setenv("NYNE_API_KEY", "nyne-key")

    named = problems("submitter")

    assert set(named) == {"PORT", "UNKNOWN_POLICY", "DEFAULT_REGION", "LEADMAGIC_API_KEY", "NYNE_API_SECRET"}


def test_each_problem_is_one_line_with_a_remedy(environment: pytest.MonkeyPatch) -> None:
    """The message can be read in a log: a line per problem."""
    environment.setenv("PUBLIC_URL", "ringback dot test")
    environment.setenv("EVENTS_SIGNING_SECRET", "whsec_short")

    with pytest.raises(SettingsError) as refused:
        Settings.load("receiver")

    assert len(str(refused.value).splitlines()) == 1 + len(refused.value.problems) == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "s3cret-in-the-wrong-place"),
        ("PUBLIC_URL", "s3cret-in-the-wrong-place"),
        ("PUBLIC_URL", "ftp://user:s3cret-in-the-wrong-place@ringback.test"),
        ("NYNE_BASE_URL", "//s3cret-in-the-wrong-place"),
        ("EVENTS_SIGNING_SECRET", "s3cret-in-the-wrong-place"),
        ("EVENTS_SIGNING_SECRET", "whsec_s3cret-in-the-wrong-place"),
        ("DEFAULT_REGION", "s3cret-in-the-wrong-place"),
        ("BUDGET_CREDITS_PER_DAY", "s3cret-in-the-wrong-place"),
    ],
)
def test_no_value_is_repeated_in_a_message(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A value may be a secret in the wrong place."""
    environment.setenv(name, value)

    with pytest.raises(SettingsError) as refused:
        Settings.load("receiver")

    assert name in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_no_secret_is_shown_by_the_settings_themselves(environment: pytest.MonkeyPatch) -> None:
    """Settings may be printed."""
    environment.setenv("DATABASE_URL", "postgresql://me:s3cret@host/name")

    shown = repr(Settings.load("submitter")) + str(Settings.load("receiver"))

    for secret in ("s3cret", "token-1", "nyne-key", "nyne-secret", "leadmagic-key", "new-key"):
        assert secret not in shown


def test_generic_fields_are_a_map(environment: pytest.MonkeyPatch) -> None:
    """Pairs are separated by commas; names may hold spaces, and spaces around them do not count."""
    environment.setenv("GENERIC_FIELDS", " Email 1=work_email, LI = profile_url,Owner E-Mail=ignore, ")

    mapped = Settings.load("receiver").generic_fields

    assert mapped == {"Email 1": "work_email", "LI": "profile_url", "Owner E-Mail": "ignore"}


@pytest.mark.parametrize("value", ["Email", "=work_email", "Email=work_mail", "Email=work_email;LI=profile_url"])
def test_a_field_that_we_do_not_have_is_named(environment: pytest.MonkeyPatch, value: str) -> None:
    """A mistake in GENERIC_FIELDS ends the start, and the message says which fields there are."""
    environment.setenv("GENERIC_FIELDS", value)

    with pytest.raises(SettingsError) as refused:
        Settings.load("receiver")

    assert "GENERIC_FIELDS" in str(refused.value)
    assert "personal_email" in str(refused.value)


@pytest.mark.parametrize("value", ["", "  ", " , "])
def test_no_token_is_a_missing_token(environment: pytest.MonkeyPatch, value: str) -> None:
    """An empty list of tokens admits no sender: it counts as missing."""
    environment.setenv("API_TOKENS", value)

    assert set(problems("receiver")) == {"API_TOKENS"}


@pytest.mark.parametrize("value", ["clearbit", "leadmagic,clearbit", "nyne,nyne", ","])
def test_providers_are_known_and_asked_once(environment: pytest.MonkeyPatch, value: str) -> None:
    """An unknown provider cannot be asked, and one named twice would be paid twice."""
    environment.setenv("PROVIDERS", value)

    assert set(problems("submitter")) == {"PROVIDERS"}


def test_only_named_providers_need_keys(environment: pytest.MonkeyPatch) -> None:
    """With LeadMagic alone, no key of Nyne's and no CALLBACK_KEYS are needed."""
    for name in ("NYNE_API_KEY", "NYNE_API_SECRET", "CALLBACK_KEYS"):
        environment.delenv(name)
    environment.setenv("PROVIDERS", "leadmagic")

    assert Settings.load("submitter").providers == ("leadmagic",)


def test_a_public_url_needs_keys_for_callbacks(environment: pytest.MonkeyPatch) -> None:
    """An unsigned callback URL could be forged."""
    environment.delenv("CALLBACK_KEYS")

    assert set(problems("submitter")) == {"CALLBACK_KEYS"}
    assert set(problems("receiver")) == {"CALLBACK_KEYS"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JOB_DEADLINE_HOURS", "inf"),
        ("CALLBACK_GRACE_SECONDS", "inf"),
        ("REUSE_FOUND_DAYS", "1e12"),
        ("REUSE_NOT_FOUND_DAYS", "nan"),
        ("LEASE_SECONDS", "0"),
        ("PROVIDER_TIMEOUT_SECONDS", "-1"),
        ("MAX_ATTEMPTS", "0"),
        ("BUDGET_CREDITS_PER_DAY", "-5"),
        ("BUDGET_CREDITS_PER_MONTH", "nan"),
        ("BUDGET_CREDITS_PER_DAY", "1e400"),
        ("BUDGET_CREDITS_PER_MONTH", "1000000001"),
        ("NYNE_BUDGET_CREDITS_PER_DAY", "1e400"),
        ("NYNE_CREDITS_PER_FOUND", "1e10"),
        ("LEADMAGIC_CREDITS_PER_FOUND", "-0.001"),
        ("NYNE_PER_MINUTE", "0"),
        ("NYNE_PER_MINUTE", "3000000000"),
        ("NYNE_PER_HOUR", "3000000000"),
        ("LEADMAGIC_PER_DAY", "1000000001"),
        ("DATABASE_POOL", "1"),
    ],
)
def test_a_number_that_cannot_be_worked_with_is_refused(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    """Better at start than in the middle of a lookup."""
    environment.setenv(name, value)

    assert set(problems("submitter")) == {name}


@pytest.mark.parametrize("name", ["NYNE_API_KEY", "NYNE_API_SECRET", "LEADMAGIC_API_KEY"])
def test_a_key_copied_with_its_line_break_is_the_key(environment: pytest.MonkeyPatch, name: str) -> None:
    """A secret from a file ends in a newline, which no header can hold."""
    environment.setenv(name, "the-key\n")

    provider, _, field = name.lower().partition("_")
    assert getattr(Settings.load("submitter").provider(provider), field).get_secret_value() == "the-key"


def test_a_key_that_no_header_can_hold_is_refused(environment: pytest.MonkeyPatch) -> None:
    """A key that fits no header is named at the start; during a lookup it would make the outcome unknown."""
    environment.setenv("NYNE_API_KEY", "the\nkey")

    assert set(problems("submitter")) == {"NYNE_API_KEY"}


@pytest.mark.parametrize(
    ("name", "value", "field", "meant"),
    [
        ("LOG_LEVEL", "INFO", "log_level", "info"),
        ("LOG_LEVEL", " Warn ", "log_level", "warning"),
        ("LOG_LEVEL", "CRITICAL", "log_level", "error"),
        ("UNKNOWN_POLICY", "Hold", "unknown_policy", "hold"),
        ("PROVIDERS", '"Nyne, LeadMagic"', "providers", ("nyne", "leadmagic")),
        ("PORT", " 8080\r\n", "port", 8080),
        ("PORT", '"8080"', "port", 8080),
        ("PORT", "  ", "port", 8000),
        ("HOST", "'127.0.0.1'", "host", "127.0.0.1"),
        ("PUBLIC_URL", "https://x.test\n", "public_url", "https://x.test"),
        ("PUBLIC_URL", " 'https://x.test//' ", "public_url", "https://x.test"),
        ("PUBLIC_URL", "http://x.test:8000/ringback/", "public_url", "http://x.test:8000/ringback"),
        ("DEFAULT_REGION", "UK", "default_region", "GB"),
        ("DEFAULT_REGION", "de", "default_region", "DE"),
        ("DEFAULT_REGION", " us\n", "default_region", "US"),
        ("DEFAULT_REGION", "USA", "default_region", "US"),
        ("DEFAULT_REGION", "en-US", "default_region", "US"),
        ("DEFAULT_REGION", "United States", "default_region", "US"),
        ("PUBLIC_URL", "https://bücher.test:443/Über", "public_url", "https://xn--bcher-kva.test/%C3%9Cber"),
        ("PUBLIC_URL", "HTTPS://X.test", "public_url", "https://x.test"),
        ("PUBLIC_URL", "http://[::1]:8000/", "public_url", "http://[::1]:8000"),
        ("BUDGET_CREDITS_PER_DAY", "1e-400", "budget_credits_per_day", 0),
        ("BUDGET_CREDITS_PER_DAY", "1000000000", "budget_credits_per_day", 10**9),
        ("RINGBACK_HOME", "~/rb", "ringback_home", Path.home() / "rb"),
        ("RETAIN_DAYS", "30", "retain_days", 30),
        ("GENERIC_FIELDS", "E-Mail=work_email, Voller Name = name\nA=B=company", "generic_fields",
         {"E-Mail": "work_email", "Voller Name": "name", "A=B": "company"}),
    ],
)  # fmt: skip
def test_a_value_is_read_as_it_was_meant(
    environment: pytest.MonkeyPatch, name: str, value: str, field: str, meant: object
) -> None:
    """White space, case, and the quotes that Docker keeps are no part of it (moby/moby#46773, fluxcd/flagger#568)."""
    environment.setenv(name, value)

    assert getattr(Settings.load("submitter"), field) == meant


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PUBLIC_URL", "https://x.test?a=b"),
        ("PUBLIC_URL", "https://x.test/?"),
        ("PUBLIC_URL", "https://x.test#f"),
        ("PUBLIC_URL", "https://me@x.test"),
        ("PUBLIC_URL", "https://me:pw@x.test"),
        ("PUBLIC_URL", "x.test"),
        ("PUBLIC_URL", "x.test:8000"),
        ("PUBLIC_URL", "ftp://x.test"),
        ("PUBLIC_URL", "https://"),
        ("PUBLIC_URL", "https://x.test\nhttps://y.test"),
        ("PUBLIC_URL", "https://x.test,https://y.test"),
        ("PUBLIC_URL", "https://x.test;"),
        ("PUBLIC_URL", "https://{{host}}"),
        ("PUBLIC_URL", "https://x.test\\callbacks"),
        ("PUBLIC_URL", "https:/x.test"),
        ("PUBLIC_URL", "https:x.test"),
        ("PUBLIC_URL", "https:///x"),
        ("PUBLIC_URL", "https://x.test:"),
        ("PUBLIC_URL", "https://:8000"),
        ("PUBLIC_URL", "https://https://x.test"),
        ("PUBLIC_URL", "https://x.test\u200b"),
        ("PUBLIC_URL", "https://x..test"),
        ("PUBLIC_URL", "https://.x.test"),
        ("PUBLIC_URL", "https://-x.test"),
        ("PUBLIC_URL", "https://*.x.test"),
        ("PUBLIC_URL", f"https://{'x' * 64}.test"),
        ("PUBLIC_URL", "http://x.test:0"),
        ("PUBLIC_URL", "http://x.test:65536"),
        ("PUBLIC_URL", "https://x.test/\udcff"),
        ("LEADMAGIC_BASE_URL", "https:/x.test"),
        ("METRICS_TOKEN", "two words"),
        ("METRICS_TOKEN", "one\ntwo"),
        ("NYNE_BASE_URL", "https://x.test?key=1"),
        ("DEFAULT_REGION", "Atlantis"),
        ("DEFAULT_REGION", "Antarctica"),  # it has no numbers of its own
        ("DEFAULT_REGION", "XX"),
        ("DEFAULT_REGION", "+1"),
        ("LOG_LEVEL", "loud"),
        ("GENERIC_FIELDS", "Email"),
        ("GENERIC_FIELDS", "Email=mail"),
        ("GENERIC_FIELDS", "=work_email"),
        ("GENERIC_FIELDS", "A=name,A=company"),
        ("RETAIN_DAYS", "0"),
        ("IDENTITY_KEY", "two\nlines"),
        ("DATABASE_URL", "mysql://me:s3cret@host/name"),
        ("DATABASE_DIRECT_URL", "me:s3cret@host"),
        ("API_TOKENS", "two words"),
        ("API_TOKENS", "crm:evnts:token"),
        ("API_TOKENS", "crm:events+:token"),
        ("API_TOKENS", "crm:events:"),
        ("API_TOKENS", "crm:token"),
        ("API_TOKENS", ":events:token"),
        ("API_TOKENS", "tok\ten"),
        ("API_TOKENS", "['tok1','tok2']"),
        ("API_TOKENS", "[tok1, tok2]"),
        ("API_TOKENS", "[]"),
        ("API_TOKENS", "{tok}"),
        ("API_TOKENS", "<tok>"),
        ("API_TOKENS", "\u201ctok\u201d"),
        ("API_TOKENS", "crm:events:\u2018tok\u2019"),
        ("API_TOKENS", "crm:events:[tok]"),
        ("API_TOKENS", "tok\udcff"),
        ("CALLBACK_KEYS", "good,key\udcff"),
        ("CALLBACK_KEYS", "good,ke\x07y"),
        ("CALLBACK_KEYS", "['key']"),
        ("DATABASE_URL", "postgres://me:pw\udcff@host/name"),
        ("HOST", "\udcff"),
        ("LOG_LEVEL", "info\udcff"),
        ("PROVIDERS", "nyne\udcff"),
        ("GENERIC_FIELDS", "\udcff=name"),
        ("MAX_ATTEMPTS", "8\udcff"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    """It is refused at start, and not repeated (openwallet-foundation/acapy#1939, external-dns#1667)."""
    environment.setenv(name, value)

    named = problems("submitter")

    assert set(named) == {name}
    assert "s3cret" not in named[name]


@pytest.mark.parametrize(
    "value",
    ["one,two", "one\ntwo\n", '"one,two"', '"one","two"', " one ,\r\n two,, ", "'one'\n'two'", '["one", "two"]'],
)
def test_tokens_are_separated_by_commas_or_lines(environment: pytest.MonkeyPatch, value: str) -> None:
    """However they were put into the file (docker/for-linux#1208)."""
    environment.setenv("API_TOKENS", value)

    assert [token.get_secret_value() for token in Settings.load("receiver").api_tokens] == ["one", "two"]


@pytest.mark.parametrize("value", ["crm:events:", "tok:en", "crm::token", "crm:events", "crm:evnts:to ken"])
def test_a_malformed_token_is_told_its_form(environment: pytest.MonkeyPatch, value: str) -> None:
    """The message is about the colons, not about spaces."""
    environment.setenv("API_TOKENS", value)

    assert "name:scope+scope:token" in problems("receiver")["API_TOKENS"]


@pytest.mark.parametrize("value", ['n:admin:"tok"', "n:admin: 'tok' ", '"n:admin:tok"', '[ "n:admin:tok" ]'])
def test_quotes_are_no_part_of_a_named_token(environment: pytest.MonkeyPatch, value: str) -> None:
    """Whether they are around the secret or around all of it."""
    environment.setenv("API_TOKENS", value)

    (token,) = Settings.load("receiver").api_tokens

    assert (token.name, token.get_secret_value()) == ("n", "tok")


def test_a_token_says_what_it_may_do(environment: pytest.MonkeyPatch) -> None:
    """A named token has its scopes, a bare one all but admin; both are shown as asterisks."""
    environment.setenv("API_TOKENS", "crm:events:a:b, boss : Admin+read : c, bare")

    tokens = Settings.load("receiver").api_tokens

    assert [(token.name, set(token.scopes), token.get_secret_value()) for token in tokens] == [
        ("crm", {"events"}, "a:b"),
        ("boss", {"admin", "read"}, "c"),
        (None, {"events", "read", "operate"}, "bare"),
    ]
    assert "bare" not in repr(tokens)
    assert isinstance(tokens[0], ApiToken)


def test_a_signing_secret_with_a_line_break_is_the_secret(environment: pytest.MonkeyPatch) -> None:
    """A secret from a file ends in a newline."""
    secret = "whsec_" + "A" * 32
    environment.setenv("EVENTS_SIGNING_SECRET", f"{secret}\n")

    given = Settings.load("receiver").events_signing_secret

    assert [one.get_secret_value() for one in given] == [secret]
