"""The settings: all that is wrong is named at once, by the name to set, and no secret is shown."""

from __future__ import annotations

import pytest

from enrichment.settings import Role, Settings, SettingsError

COMPLETE = {
    "API_TOKENS": "token-1, token-2",
    "LEADMAGIC_API_KEY": "leadmagic-key",
    "NYNE_API_KEY": "nyne-key",
    "NYNE_API_SECRET": "nyne-secret",
    "CALLBACK_KEYS": "new-key,old-key",
    "PUBLIC_URL": "https://ringback.test/",
}


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is set."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Everything that is needed is set."""
    for name, value in COMPLETE.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def problems(role: Role) -> dict[str, str]:
    """What the settings lack for *role*, by name."""
    with pytest.raises(SettingsError) as refused:
        Settings.load(role)
    return dict(problem.split(": ", 1) for problem in refused.value.problems)


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
    monkeypatch.setenv("DEFAULT_REGION", "usa")
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
    """What was set may be a secret in the wrong place."""
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
    """An empty list of tokens lets nobody in: it is missing, not set."""
    environment.setenv("API_TOKENS", value)

    assert set(problems("receiver")) == {"API_TOKENS"}


@pytest.mark.parametrize("value", ["clearbit", "leadmagic,clearbit", "nyne,nyne", " "])
def test_providers_are_known_and_asked_once(environment: pytest.MonkeyPatch, value: str) -> None:
    """A provider that does not exist cannot be asked, and one that is named twice would be paid twice."""
    environment.setenv("PROVIDERS", value)

    assert set(problems("submitter")) == {"PROVIDERS"}


def test_only_named_providers_need_keys(environment: pytest.MonkeyPatch) -> None:
    """Who asks LeadMagic alone needs no key of Nyne's, nor keys for callbacks."""
    for name in ("NYNE_API_KEY", "NYNE_API_SECRET", "CALLBACK_KEYS"):
        environment.delenv(name)
    environment.setenv("PROVIDERS", "leadmagic")

    assert Settings.load("submitter").providers == ("leadmagic",)


def test_a_public_url_needs_keys_for_callbacks(environment: pytest.MonkeyPatch) -> None:
    """A callback URL that nobody signed would be anybody's."""
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
        ("NYNE_PER_MINUTE", "0"),
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

    assert getattr(Settings.load("submitter"), name.lower()).get_secret_value() == "the-key"


def test_a_key_that_no_header_can_hold_is_refused(environment: pytest.MonkeyPatch) -> None:
    """A broken key is named at start; in the middle of a lookup it would be an outcome nobody can tell."""
    environment.setenv("NYNE_API_KEY", "the\nkey")

    assert set(problems("submitter")) == {"NYNE_API_KEY"}
