"""Where settings come from: the environment, `.env`, files that hold a secret, and keywords."""

from __future__ import annotations

from pathlib import Path

import pytest

from enrichment.settings import Settings, _secrets, without_settings
from tests.bare_settings import problems
from tests.conftest import MakeSettings

pytestmark = pytest.mark.usefixtures("bare")

SECRETS = (
    "API_TOKENS", "CALLBACK_KEYS", "DATABASE_DIRECT_URL", "DATABASE_URL", "EVENTS_SIGNING_SECRET",
    "HUBSPOT_ACCESS_TOKEN", "HUBSPOT_CLIENT_SECRET", "IDENTITY_KEY", "LEADMAGIC_API_KEY", "METRICS_TOKEN",
    "NYNE_API_KEY", "NYNE_API_SECRET", "RESULT_WEBHOOK_SECRET", "SESSION_KEY",
)  # fmt: skip


def test_every_secret_may_be_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Docker and systemd hand secrets over as files: NAME_FILE names it, and its last line break is not part of it."""
    values = dict.fromkeys(SECRETS, "in-a-file") | {
        "DATABASE_URL": "postgres://me:pw@host/name",
        "DATABASE_DIRECT_URL": "postgres://me:pw@host/name",
        "EVENTS_SIGNING_SECRET": "whsec_" + "A" * 32,
        "RESULT_WEBHOOK_SECRET": "whsec_" + "A" * 32,
    }
    for name, value in values.items():
        (tmp_path / name).write_text(f"{value}\n", encoding="utf-8")
        monkeypatch.setenv(f"{name}_FILE", str(tmp_path / name))

    settings = Settings.load("submitter")

    assert settings.nyne.api_secret is not None
    assert settings.nyne.api_secret.get_secret_value() == "in-a-file"
    assert [token.get_secret_value() for token in settings.api_tokens] == ["in-a-file"]
    assert settings.identity_key is not None
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgres://me:pw@host/name"


def test_every_secret_is_known_as_one() -> None:
    """A setting that holds a secret has its NAME_FILE, and is not shown."""
    assert tuple(sorted(name.upper() for name in _secrets())) == SECRETS


def test_a_file_that_cannot_be_read_is_named_with_the_rest(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A setting and its file together are named too: which one is meant is unclear."""
    environment.delenv("NYNE_API_KEY")
    environment.setenv("NYNE_API_KEY_FILE", str(tmp_path / "missing"))
    environment.setenv("NYNE_API_SECRET_FILE", str(tmp_path / "missing"))
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    environment.delenv("CALLBACK_KEYS")
    environment.setenv("CALLBACK_KEYS_FILE", str(tmp_path / "binary"))
    environment.setenv("PORT", "eighty")

    named = problems("submitter")

    assert set(named) == {"NYNE_API_KEY", "NYNE_API_SECRET", "CALLBACK_KEYS", "PORT"}
    assert "NYNE_API_KEY_FILE cannot be read: No such file" in named["NYNE_API_KEY"]
    assert "not both" in named["NYNE_API_SECRET"]


def test_a_dot_env_is_read_and_the_environment_wins(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file beside the program has what the environment does not, in the same forms; Windows adds a mark to it."""
    text = "\ufeffPORT=9000\nLOG_LEVEL='DEBUG'\nNYNE_PER_MINUTE=7 # slow\nexport UNKNOWN_POLICY=hold\n"
    (tmp_path / ".env").write_text(text, encoding="utf-8")
    environment.setenv("LOG_LEVEL", "error")

    settings = Settings.load("submitter")

    assert (settings.port, settings.log_level, settings.nyne.per_minute) == (9000, "error", 7)
    assert settings.unknown_policy == "hold"


def test_a_dot_env_that_is_no_text_is_named(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One message instead of a traceback."""
    (tmp_path / ".env").write_bytes(b"PORT=\xff\xfe")

    assert set(problems("submitter")) == {".env"}


def test_a_dot_env_that_cannot_be_read_is_named(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """So is one that belongs to another user."""
    (tmp_path / ".env").write_text("PORT=9000\n")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", ".env")

    environment.setattr("pydantic_settings.sources.providers.dotenv.dotenv_values", refuse)

    assert problems("submitter") == {".env": "cannot be read: Permission denied"}


def test_a_secret_of_the_home_directory_is_read(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """~ is the home directory, as in a shell; the home of an unknown user is named as a problem."""
    environment.setenv("HOME", str(tmp_path))
    (tmp_path / "token").write_text("from-home\n")
    for name in ("API_TOKENS", "NYNE_API_KEY"):
        environment.delenv(name)
    environment.setenv("API_TOKENS_FILE", "~/token")
    environment.setenv("NYNE_API_KEY_FILE", "~nobody-of-this-name/token")

    assert set(problems("submitter")) == {"NYNE_API_KEY"}
    environment.delenv("NYNE_API_KEY_FILE")
    assert [token.get_secret_value() for token in Settings.load("receiver").api_tokens] == ["from-home"]


def test_what_is_wrong_in_one_provider_leaves_the_rest_of_it(environment: pytest.MonkeyPatch) -> None:
    """A key that is set is not missing because another of the provider's settings is wrong."""
    environment.setenv("NYNE_PER_MINUTE", "0")
    environment.setenv("NYNE", "{}")  # no setting of ours

    assert set(problems("submitter")) == {"NYNE_PER_MINUTE"}


def test_keywords_win_over_the_environment(make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests and tools say what they mean."""
    monkeypatch.setenv("NYNE_PER_MINUTE", "7")

    assert make_settings(nyne_per_minute=9).nyne.per_minute == 9


def test_a_child_without_settings_reads_no_dot_env(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A demo in a folder with real settings uses none of them: a blank variable beats the file."""
    (tmp_path / ".env").write_text("DATABASE_URL=postgres://real/one\nNYNE_API_KEY_FILE=/real\nPORT=9\n")
    given = without_settings({"DATABASE_URL": "postgres://real/two", "API_TOKENS_FILE": "/real", "PATH": "/bin"})
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    settings = Settings.load("console")

    assert (settings.database_url, settings.port, settings.nyne.api_key) == (None, 8000, None)
    assert given["PATH"] == "/bin"
