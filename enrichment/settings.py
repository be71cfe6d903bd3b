"""The settings: read from the environment once, whole; all that is wrong is named at once."""

from __future__ import annotations

import base64
import binascii
import os
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, HttpUrl, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from enrichment.event_fields import FIELDS, IGNORED

Role = Literal["receiver", "submitter", "console"]

# What the submitter must know to ask each provider.
NEEDED = {"leadmagic": ("leadmagic_api_key",), "nyne": ("nyne_api_key", "nyne_api_secret")}


class SettingsError(Exception):
    """What is missing or wrong in the environment, one line each, with the remedy."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("The settings cannot be used:\n" + "\n".join(f"  {problem}" for problem in problems))


def _split(value: Any) -> Any:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _field_map(value: Any) -> Any:
    """Read "Email 1=work_email, LI=profile_url" as the names of fields and what they are to us."""
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    mapped = {name.strip(): field.strip() for name, _, field in pairs}
    known = (*FIELDS, IGNORED)
    if not all(mapped) or any(field not in known for field in mapped.values()):
        raise ValueError(f"write name=field, comma-separated, with these fields: {', '.join(known)}")
    return mapped


def _no_trailing_slash(url: str | None) -> str | None:
    if url is None:
        return None
    HttpUrl(url)  # raises what pydantic reports
    return url.rstrip("/")


def _signing_secret(secret: SecretStr | None) -> SecretStr | None:
    """A Standard Webhooks secret: whsec_ and base64 of 24 to 64 bytes."""
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


def _key(secret: SecretStr | None) -> SecretStr | None:
    """A key that a header can hold; what a file's last line break adds is not part of it."""
    text = secret.get_secret_value().strip() if secret else ""
    if not (text.isascii() and text.isprintable()):
        raise ValueError("must be one line of plain characters")
    return SecretStr(text) if text else None


Secrets = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split)]
Key = Annotated[SecretStr | None, AfterValidator(_key)]
FieldMap = Annotated[dict[str, str], NoDecode, BeforeValidator(_field_map)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Url = Annotated[str, AfterValidator(_no_trailing_slash)]
WebhookSecret = Annotated[SecretStr | None, AfterValidator(_signing_secret)]


class Settings(BaseSettings):
    """Every setting; the environment variable is the field's name in upper case."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True)

    database_url: SecretStr | None = Field(None, description="PostgreSQL; absent: an embedded one under RINGBACK_HOME")
    database_direct_url: SecretStr | None = Field(None, description="PostgreSQL past a pooler, for LISTEN")
    database_pool: int = Field(8, ge=2, le=200, description="connections of one process")
    ringback_home: Path = Field(Path(".ringback"), description="where the embedded PostgreSQL lives")
    host: str = Field("0.0.0.0", description="address the receiver listens on")  # noqa: S104  a public endpoint
    port: int = Field(8000, ge=0, le=65535, description="port the receiver listens on")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level logged")

    public_url: Url | None = Field(None, description="where providers reach the receiver; absent: Nyne is polled")
    api_tokens: Secrets = Field((), description="tokens for events and API, comma-separated, all valid")
    callback_keys: Secrets = Field((), description="keys of the callback URLs; the first signs, all verify")
    events_signing_secret: WebhookSecret = Field(None, description="Standard Webhooks secret for /events/generic")

    generic_fields: FieldMap = Field({}, description="your names of fields: Email 1=work_email, LI=profile_url")

    providers: Names = Field(("leadmagic", "nyne"), description="who is asked, in this order")
    leadmagic_api_key: Key = Field(None, description="LeadMagic's key")
    leadmagic_base_url: Url = Field("https://api.leadmagic.io", description="LeadMagic's address")
    leadmagic_credits_per_found: Decimal = Field(Decimal(5), ge=0, description="credits reserved per question")
    nyne_api_key: Key = Field(None, description="Nyne's key")
    nyne_api_secret: Key = Field(None, description="Nyne's secret")
    nyne_base_url: Url = Field("https://api.nyne.ai", description="Nyne's address")
    nyne_credits_per_found: Decimal = Field(Decimal(3), ge=0, description="credits per number found; see your plan")

    provider_timeout_seconds: float = Field(30, gt=0, le=600, description="longest wait for a provider's answer")
    provider_concurrency: int = Field(100, ge=1, le=5000, description="questions in flight per provider and process")
    lease_seconds: float = Field(20, ge=1, le=3600, description="how long a silent process keeps a job")
    max_attempts: int = Field(8, ge=1, le=100, description="tries after definite failures")
    callback_grace_seconds: float = Field(
        60, ge=0.1, le=86_400, description="how long a callback may take before we poll"
    )
    job_deadline_hours: float = Field(24, gt=0, le=8760, description="after this a question without an answer is lost")
    unknown_policy: Literal["next", "hold"] = Field(
        "next", description="after an unknown outcome: next provider, or stop"
    )
    reuse_found_days: float = Field(90, ge=0, le=36_500, description="how long a found number is taken again for free")
    reuse_not_found_days: float = Field(30, ge=0, le=36_500, description="how long no number is taken again for free")
    default_region: str | None = Field(None, pattern="^[A-Z]{2}$", description="country of numbers without a prefix")

    budget_credits_per_day: Decimal | None = Field(None, ge=0, description="credits of all providers, per UTC day")
    budget_credits_per_month: Decimal | None = Field(None, ge=0, description="credits of all providers, per UTC month")
    leadmagic_budget_credits_per_day: Decimal | None = Field(None, ge=0, description="LeadMagic's share of a day")
    leadmagic_budget_credits_per_month: Decimal | None = Field(None, ge=0, description="LeadMagic's share of a month")
    nyne_budget_credits_per_day: Decimal | None = Field(None, ge=0, description="Nyne's share of a day")
    nyne_budget_credits_per_month: Decimal | None = Field(None, ge=0, description="Nyne's share of a month")

    leadmagic_per_minute: int | None = Field(None, gt=0, description="requests; default 3,000")
    leadmagic_per_hour: int | None = Field(None, gt=0, description="requests; default none")
    leadmagic_per_day: int | None = Field(None, gt=0, description="requests; default 500,000")
    nyne_per_minute: int | None = Field(None, gt=0, description="requests; default 100")
    nyne_per_hour: int | None = Field(None, gt=0, description="requests; default 1,000")
    nyne_per_day: int | None = Field(None, gt=0, description="requests; default none")

    @classmethod
    def load(cls, role: Role) -> Settings:
        """The settings that *role* needs, complete.  Raises SettingsError naming all that is missing or wrong."""
        problems: dict[str, str] = {}
        try:
            settings = cls()
        except ValidationError as error:
            # The values are not shown: they may be secrets.
            problems = {str(e["loc"][0]).upper(): e["msg"] for e in error.errors()}
            sound = {n: v for n in cls.model_fields if n.upper() not in problems and (v := os.environ.get(n.upper()))}
            settings = _Given.model_validate(sound)
        problems = settings.missing(role) | problems
        if problems:
            raise SettingsError([f"{name}: {what}" for name, what in problems.items()])
        return settings

    def missing(self, role: Role) -> dict[str, str]:
        """The settings that *role* cannot do without, and what to do about each."""
        missing: dict[str, str] = {}
        if not self.providers or set(self.providers) - set(NEEDED) or len(set(self.providers)) < len(self.providers):
            got = ", ".join(self.providers) or "none"
            missing["PROVIDERS"] = f"name one or more of {', '.join(NEEDED)}, each once; got {got}"
        if role == "receiver" and not self.api_tokens:
            missing["API_TOKENS"] = "missing; choose a long random token and give it to your CRM"
        if role != "console" and self.public_url and "nyne" in self.providers and not self.callback_keys:
            missing["CALLBACK_KEYS"] = "missing; PUBLIC_URL is set, so callback URLs need a long random key"
        if role == "submitter":
            for provider in self.providers:
                for field in NEEDED.get(provider, ()):
                    if getattr(self, field) is None:
                        missing[field.upper()] = f"missing; needed because PROVIDERS names {provider}"
        return missing

    def of(self, provider: str, name: str) -> Any:
        """The setting *name* of one provider: of("nyne", "per_minute") is NYNE_PER_MINUTE."""
        return getattr(self, f"{provider}_{name}")

    @property
    def lease(self) -> timedelta:
        return timedelta(seconds=self.lease_seconds)

    @property
    def callback_grace(self) -> timedelta:
        return timedelta(seconds=self.callback_grace_seconds)

    @property
    def job_deadline(self) -> timedelta:
        return timedelta(hours=self.job_deadline_hours)


class _Given(Settings):
    """Settings out of what is given, and nothing else: the environment has what cannot be used."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)
