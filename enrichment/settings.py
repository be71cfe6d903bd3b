"""Read the settings once, from the environment, `.env` and `NAME_FILE`s; report all problems at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from enrichment.setting_types import (
    MOST_REQUESTS,
    Conditions,
    Credits,
    DatabaseUrl,
    FieldName,
    Fields,
    Folder,
    HeaderToken,
    Host,
    Key,
    Keys,
    Level,
    Lowered,
    Names,
    Networks,
    PerWindow,
    Region,
    TargetUrl,
    Tokens,
    Unreadable,
    Url,
    WebhookSecrets,
    without_quotes,
)

Role = Literal["receiver", "submitter", "console"]

PROVIDER_NAMES = ("leadmagic", "nyne")
CRM_NAMES = ("hubspot",)
SOURCE_NAMES = ("generic", "api", *CRM_NAMES)
NESTED = (*PROVIDER_NAMES, *SOURCE_NAMES)  # whose settings begin with their name


class SettingsError(Exception):
    """Missing or wrong settings, one line each, with the remedy."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("The settings cannot be used:\n" + "\n".join(f"  {problem}" for problem in problems))


class ProviderSettings(BaseModel):
    """The settings of one provider; NYNE_PER_MINUTE is `settings.nyne.per_minute`."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True, validate_default=True)
    needed: ClassVar[tuple[str, ...]] = ("api_key",)  # without them the provider cannot be asked

    api_key: Key = Field(None, description="the provider's key")
    base_url: Url
    credits_per_found: Credits
    budget_credits_per_day: Credits | None = Field(None, description="credits of this provider, per UTC day")
    budget_credits_per_month: Credits | None = Field(None, description="credits of this provider, per UTC month")
    per_minute: PerWindow | None = None
    per_hour: PerWindow | None = None
    per_day: PerWindow | None = None

    def lacks(self) -> list[str]:
        """List the credentials that are needed and not set."""
        return [name for name in self.needed if getattr(self, name) is None]


class LeadMagicSettings(ProviderSettings):
    """The settings of LeadMagic."""

    api_key: Key = Field(None, description="LeadMagic's key")
    base_url: Url = Field("https://api.leadmagic.io", description="LeadMagic's address")
    credits_per_found: Credits = Field(Decimal(5), description="credits reserved per question")
    per_minute: PerWindow | None = Field(None, description="requests; default 3,000")
    per_hour: PerWindow | None = Field(None, description="requests; default none")
    per_day: PerWindow | None = Field(None, description="requests; default 500,000")


class NyneSettings(ProviderSettings):
    """The settings of Nyne."""

    needed: ClassVar[tuple[str, ...]] = ("api_key", "api_secret")

    api_key: Key = Field(None, description="Nyne's key")
    api_secret: Key = Field(None, description="Nyne's secret")
    base_url: Url = Field("https://api.nyne.ai", description="Nyne's address")
    credits_per_found: Credits = Field(Decimal(3), description="credits per number found; see your plan")
    per_minute: PerWindow | None = Field(None, description="requests; default 100")
    per_hour: PerWindow | None = Field(None, description="requests; default 1,000")
    per_day: PerWindow | None = Field(None, description="requests; default none")


class SourceSettings(BaseModel):
    """The settings of one source of events; HUBSPOT_BUDGET_CREDITS_PER_DAY is `settings.hubspot.budget_...`."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True, validate_default=True)

    budget_credits_per_day: Credits | None = Field(None, description="credits that this source may spend per UTC day")
    budget_credits_per_month: Credits | None = Field(None, description="credits that it may spend per UTC month")
    flood_lookups_per_hour: int | None = Field(
        None,
        ge=0,
        le=MOST_REQUESTS,
        description="searches that it may begin per hour; others are held; 0: no limit",
    )


class CrmSettings(SourceSettings):
    """The settings of one CRM."""

    base_url: Url
    linkedin_field: FieldName = Field(None, description="property that holds the LinkedIn profile; absent: found")
    only_if: Conditions = Field((), description="contacts worth asking about: `property=value,value; property=value`")
    sweep_seconds: float = Field(60, ge=0, le=86_400, description="between two sweeps for missed contacts; 0: none")
    flood_lookups_per_hour: int | None = Field(
        500, ge=0, le=MOST_REQUESTS, description="searches that it may begin per hour; others are held; 0: no limit"
    )


class HubSpotSettings(CrmSettings):
    """The settings of HubSpot."""

    base_url: Url = Field("https://api.hubapi.com", description="HubSpot's address")
    access_token: HeaderToken = Field(None, description="HubSpot's service key or app token: reads and writes contacts")
    client_secret: Keys = Field((), description="HubSpot app's client secrets: any of them verifies its webhooks")
    accept_v1: bool = Field(False, description="accept HubSpot's old signatures v1 and v2 as well")


class Settings(BaseSettings):
    """Every setting; its environment variable is the field's name in upper case, after its provider's or source's."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8-sig",
        env_nested_delimiter="_",
        env_nested_max_split=1,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    database_url: DatabaseUrl = Field(None, description="PostgreSQL; absent: an embedded one under RINGBACK_HOME")
    database_direct_url: DatabaseUrl = Field(None, description="PostgreSQL past a pooler, for LISTEN")
    database_pool: int = Field(8, ge=2, le=200, description="connections of one process")
    ringback_home: Folder = Field(Path(".ringback"), description="where the embedded PostgreSQL lives")
    host: Host = Field("0.0.0.0", description="address the receiver listens on")  # noqa: S104  a public endpoint
    port: int = Field(8000, ge=0, le=65535, description="port the receiver listens on")
    max_connections: int = Field(8000, ge=16, le=60_000, description="clients at a time; less where files are fewer")
    head_timeout_seconds: float = Field(15, gt=0, le=600, description="longest wait for a request's headers")
    idle_timeout_seconds: float = Field(75, gt=0, le=3600, description="how long a client may keep an idle connection")
    write_timeout_seconds: float = Field(20, gt=0, le=600, description="how long a client may leave answers unread")
    log_level: Level = Field("info", description="least level logged")

    public_url: Url | None = Field(None, description="where providers reach the receiver; absent: Nyne is polled")
    api_tokens: Tokens = Field((), description="tokens for events and API, by comma or line; name:scope+scope:token")
    callback_keys: Keys = Field((), description="keys of the callback URLs; the first signs, all verify")
    events_signing_secret: WebhookSecrets = Field((), description="Standard Webhooks secrets for /events/generic")
    token_requests_per_minute: int = Field(
        120_000, ge=0, le=MOST_REQUESTS, description="requests of one token to one process; 0: no limit"
    )
    address_requests_per_minute: int = Field(
        6_000, ge=0, le=MOST_REQUESTS, description="refused requests of one address to one process; 0: no limit"
    )
    trusted_proxies: Networks = Field((), description="addresses and networks whose forwarded addresses are believed")
    generic_fields: Fields = Field({}, description="your names of fields: `Their Name=work_email, ...`")
    identity_key: Key = Field(None, description="key of the hashes of identifiers; absent: made by migrate")

    providers: Names = Field(PROVIDER_NAMES, description="who is asked, in this order")
    leadmagic: LeadMagicSettings = LeadMagicSettings()
    nyne: NyneSettings = NyneSettings()

    hubspot: HubSpotSettings = HubSpotSettings()
    generic: SourceSettings = SourceSettings()
    api: SourceSettings = SourceSettings()
    write_back: Lowered[Literal["if_empty", "own", "off"]] = Field(
        "if_empty", description="numbers into the CRM: into empty fields, also over numbers of ours, or not at all"
    )
    result_webhook_url: TargetUrl | None = Field(None, description="where every result is sent; absent: nowhere")
    result_webhook_secret: WebhookSecrets = Field((), description="Standard Webhooks secrets that sign results")
    result_webhook_allow_private: bool = Field(False, description="let results be sent to private addresses")

    provider_timeout_seconds: float = Field(30, gt=0, le=600, description="longest wait for a provider's answer")
    provider_concurrency: int = Field(100, ge=1, le=5000, description="questions in flight per provider and process")
    lease_seconds: float = Field(20, ge=1, le=3600, description="how long a silent process keeps a job")
    max_attempts: int = Field(8, ge=1, le=100, description="tries after definite failures")
    callback_grace_seconds: float = Field(
        60, ge=0.1, le=86_400, description="how long a callback may take before we poll"
    )
    job_deadline_hours: float = Field(24, gt=0, le=8760, description="after this a question without an answer is lost")
    unknown_policy: Lowered[Literal["next", "hold"]] = Field(
        "next", description="after an unknown outcome: next provider, or stop"
    )
    reuse_found_days: float = Field(90, ge=0, le=36_500, description="days to reuse a number that was found")
    reuse_not_found_days: float = Field(30, ge=0, le=36_500, description='days to reuse a "no number" answer')
    retain_days: float | None = Field(
        None, ge=1, le=36_500, description="days after which raw bodies are emptied; absent: never"
    )
    default_region: Region = Field(None, description="country of numbers without a prefix, like US")

    budget_credits_per_day: Credits | None = Field(None, description="credits of all providers, per UTC day")
    budget_credits_per_month: Credits | None = Field(None, description="credits of all providers, per UTC month")

    session_key: Key = Field(
        None, description="signs the dashboard's sessions, besides their token; a new one ends all"
    )
    metrics_token: HeaderToken = Field(None, description="token for /metrics; absent: it is open")

    @classmethod
    def load(cls, role: Role) -> Settings:
        """Read the settings that *role* needs. Raise SettingsError, which names every missing or wrong one."""
        problems: dict[str, str] = {}
        try:
            settings = cls()
        except UnicodeDecodeError:
            raise SettingsError([".env: is no UTF-8 text"]) from None
        except OSError as error:
            raise SettingsError([f".env: cannot be read: {error.strerror}"]) from None
        except ValidationError as error:
            sound: dict[str, Any] = {}
            for one in error.errors():
                path = [str(step) for step in one["loc"][: 2 if one["loc"][0] in NESTED else 1]]
                problems["_".join(path).upper()] = one["msg"].removeprefix("Value error, ")
                _set_default(sound, path)
            settings = cls(**sound)  # what is missing is found in the rest
        problems = settings.missing(role) | problems
        if problems:
            raise SettingsError([f"{name}: {what}" for name, what in problems.items()])
        return settings

    def missing(self, role: Role) -> dict[str, str]:
        """Return the settings that *role* needs and that are not set, each with what to do."""
        missing: dict[str, str] = {}
        unknown = set(self.providers) - set(PROVIDER_NAMES)
        if not self.providers or unknown or len(set(self.providers)) < len(self.providers):
            missing["PROVIDERS"] = f"name one or more of {', '.join(PROVIDER_NAMES)}, each once"
        if role == "receiver" and not self.api_tokens:
            missing["API_TOKENS"] = "missing; choose a long random token and give it to your CRM"
        if self.result_webhook_url and not self.result_webhook_secret:
            missing["RESULT_WEBHOOK_SECRET"] = "missing; RESULT_WEBHOOK_URL is set, so results must be signed"  # noqa: S105
        if role != "console" and self.public_url and "nyne" in self.providers and not self.callback_keys:
            missing["CALLBACK_KEYS"] = "missing; PUBLIC_URL is set, so callback URLs need a long random key"
        if role == "submitter":
            for provider in self.providers:
                for name in self.provider(provider).lacks() if provider in PROVIDER_NAMES else ():
                    missing[f"{provider}_{name}".upper()] = f"missing; needed because PROVIDERS names {provider}"
        return missing

    def provider(self, name: str) -> ProviderSettings:
        """Return the settings of the provider *name*."""
        settings: ProviderSettings = getattr(self, name)
        return settings

    def source(self, name: str) -> SourceSettings:
        """Return the settings of the source *name*."""
        settings: SourceSettings = getattr(self, name)
        return settings

    def crm(self, name: str) -> CrmSettings:
        """Return the settings of the CRM *name*."""
        settings: CrmSettings = getattr(self, name)
        return settings

    @property
    def sweep_seconds(self) -> dict[str, float]:
        """Return the seconds between two sweeps by CRM; 0 means none."""
        return {name: self.crm(name).sweep_seconds for name in CRM_NAMES}

    def budgeted(self) -> Iterator[tuple[str | None, str | None, Settings | ProviderSettings | SourceSettings]]:
        """Yield (provider, source, settings) of everything that may have a budget; (None, None) means all together."""
        yield None, None, self
        for provider in self.providers:
            yield provider, None, self.provider(provider)
        for source in SOURCE_NAMES:
            yield None, source, self.source(source)

    @property
    def lease(self) -> timedelta:
        """Return LEASE_SECONDS as a timedelta."""
        return timedelta(seconds=self.lease_seconds)

    @property
    def callback_grace(self) -> timedelta:
        """Return CALLBACK_GRACE_SECONDS as a timedelta."""
        return timedelta(seconds=self.callback_grace_seconds)

    @property
    def job_deadline(self) -> timedelta:
        """Return JOB_DEADLINE_HOURS as a timedelta."""
        return timedelta(hours=self.job_deadline_hours)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read keywords first, then the environment, `.env` and files as one."""
        assert isinstance(env_settings, EnvSettingsSource)  # noqa: S101  pydantic's own
        assert isinstance(dotenv_settings, EnvSettingsSource)  # noqa: S101
        env_settings.env_vars = _as_meant({**dotenv_settings.env_vars, **env_settings.env_vars})
        return init_settings, env_settings


def setting_fields() -> dict[str, FieldInfo]:
    """Return every setting by its flat name, like `nyne_per_minute`."""
    return dict(_flat(Settings, ""))


def without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return *environment* with every setting blank, so that a child process takes none from it or from `.env`."""
    names = {name.upper() for name in setting_fields()} | {f"{name.upper()}_FILE" for name in _secrets()}
    kept = {name: value for name, value in environment.items() if name.upper() not in names}
    return kept | dict.fromkeys(sorted(names), "")


def _flat(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _flat(field.annotation, f"{name}_")
        else:
            yield prefix + name, field


def _set_default(sound: dict[str, Any], path: list[str]) -> None:
    """Put the default of the setting at *path* into *sound*, whose keywords override the environment."""
    model: type[BaseModel] = Settings
    for step in path[:-1]:
        nested = model.model_fields[step].annotation
        assert isinstance(nested, type)  # noqa: S101  as NESTED says
        model, sound = nested, sound.setdefault(step, {})
    sound[path[-1]] = model.model_fields[path[-1]].default


def _as_meant(given: Mapping[str, str | None]) -> dict[str, Any]:
    """Trim values, remove the quotes that Docker keeps, read the NAME_FILEs of secrets, and omit blank values."""
    meant: dict[str, Any] = {name: _text(name, given.get(name) or "") for name in setting_fields()}
    for name in _secrets():
        if not (path := without_quotes(given.get(f"{name}_file") or "")):
            continue
        if meant[name]:
            meant[name] = Unreadable(f"set it or {name.upper()}_FILE, not both")
            continue
        try:
            meant[name] = without_quotes(Path(path).expanduser().read_text(encoding="utf-8-sig"))
        except RuntimeError:
            meant[name] = Unreadable(
                f"{name.upper()}_FILE cannot be read: the home directory that ~ means is not known"
            )
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "no UTF-8 text"
            meant[name] = Unreadable(f"{name.upper()}_FILE cannot be read: {why}")
    return {name: value for name, value in meant.items() if value != ""}


def _text(name: str, given: str) -> str | Unreadable:
    """Trim a value. A byte that is no UTF-8 can be meant only in a path."""
    try:
        given.encode("utf-8", "surrogateescape" if name == "ringback_home" else "strict")
    except UnicodeEncodeError:
        return Unreadable("is no UTF-8 text")
    return without_quotes(given)


def _secrets() -> list[str]:
    return [name for name, field in setting_fields().items() if _holds_secret(field.annotation)]


def _holds_secret(annotation: Any) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, SecretStr):
        return True
    return any(_holds_secret(part) for part in get_args(annotation))
