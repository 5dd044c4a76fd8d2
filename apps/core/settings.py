"""Every value that the environment may set; the only reader of the environment.

Order: argument, process environment, env file (`DTRAG_ENV_FILE`, else `./.env`), secrets
directory (`DTRAG_SECRETS_DIR`, one file a variable), `DTRAG_HOME/dtrag.env` (written by
`dtrag quickstart`), default. An empty string counts as unset. A value that cannot be used
stops the start with one sentence that names the variable.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from apps.core import env_file, setting_values

TriState = Literal["true", "false", "auto"]
ON, OFF = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off"})


class SettingsError(Exception):
    """A value in the environment cannot be used; the message names the variable."""


def tri_state(value: str) -> TriState:
    """Read true/1/yes/on, false/0/no/off or auto, in any case.

    Raises:
        ValueError: anything else.
    """
    word = value.strip().lower()
    if word in ON:
        return "true"
    if word in OFF:
        return "false"
    if word == "auto":
        return "auto"
    raise ValueError(f"{value!r} is not one of true, false, auto")


READING: Mapping[str, Callable[[str], str]] = {
    "ENVIRONMENT": str.lower,
    "LOG_LEVEL": str.upper,
    "USE_HYBRID_SEARCH": tri_state,
    "USE_RERANKER": tri_state,
    "DATABASE_URL": setting_values.database_url,
    "REDIS_URL": setting_values.redis_url,
    "OTEL_EXPORTER_OTLP_ENDPOINT": setting_values.http_address,
    "DTRAG_LLM": setting_values.chat_models,
    "DTRAG_RERANKER": setting_values.reranker,
    "DTRAG_RERANKER_KEY": setting_values.bearer,
}
"""What each value must look like, and the one spelling that we keep."""


class Settings(BaseModel):
    """The configuration of one process, frozen; `load` makes it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    ENVIRONMENT: Literal["development", "test", "production"] = "development"
    DTRAG_HOME: Path = Path("var")
    # Addresses may hold a password, so they are never shown.
    DATABASE_URL: str = Field(default="", repr=False)
    REDIS_URL: str = Field(default="", repr=False)
    ARTIFACTS_DIR: Path | None = None
    SECRET_KEY: SecretStr | None = None
    GEMINI_API_KEY: SecretStr | None = None
    GEMINI_BASE_URL: str = ""
    DTRAG_LLM: str = ""
    DTRAG_EMBEDDER: str = "auto"
    DTRAG_FUSION: Literal["convex", "rrf"] = "convex"
    DTRAG_DENSE_WEIGHT: float | None = Field(default=None, ge=0, le=1)
    DTRAG_LEXICAL_WEIGHT: float | None = Field(default=None, ge=0, le=1)
    DTRAG_CHUNK_TOKENS: int = Field(default=500, ge=32, le=4000)
    DTRAG_CHUNK_OVERLAP: int = Field(default=128, ge=0, le=1000)
    DTRAG_FAISS_ABOVE: int = Field(default=20_000, ge=1)
    USE_HYBRID_SEARCH: TriState = "auto"
    USE_RERANKER: TriState = "auto"
    DTRAG_RERANKER: str = Field(default="", repr=False)
    DTRAG_RERANKER_MODEL: str = ""
    DTRAG_RERANKER_KEY: SecretStr | None = None
    DTRAG_RERANKER_TIMEOUT_S: float = Field(default=3.0, gt=0, le=8)  # node `retrieve` has ten
    DTRAG_OPENFEATURE: bool = False
    DB_POOL_SIZE: int = Field(default=10, ge=1, le=1000)
    DB_MAX_OVERFLOW: int = Field(default=20, ge=0, le=1000)
    SQLITE_SYNCHRONOUS: Literal["NORMAL", "FULL"] = "NORMAL"
    WORKER_PROCESSES: int = Field(default=1, ge=1, le=64)
    LOG_LEVEL: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    API_HOST: str = "127.0.0.1"
    API_PORT: int = Field(default=8000, ge=0, le=65535)
    CACHE_TTL: int = Field(default=3600, ge=0)
    CACHE_ENTRIES: int = Field(default=5000, ge=0)
    CACHE_BYTES: int = Field(default=64 << 20, ge=0)
    METRICS_PUBLIC: bool = False
    REQUEST_TIMEOUT_S: float = Field(default=30.0, gt=0, le=600)
    MAX_BODY_BYTES: int = Field(default=1 << 20, ge=1024)
    MAX_UPLOAD_BYTES: int = Field(default=50 * 1000 * 1000, ge=1024)
    FETCH_ALLOW_HOSTS: str = ""
    DTRAG_FAULTS: str = ""
    # The names and meanings that OpenTelemetry gives them; an address may hold a password.
    OTEL_EXPORTER_OTLP_ENDPOINT: str = Field(default="", repr=False)
    OTEL_EXPORTER_OTLP_HEADERS: SecretStr | None = None
    OTEL_TRACES_SAMPLER_ARG: float = Field(default=1.0, ge=0, le=1)
    OTEL_SERVICE_NAME: str = "dt-rag"

    # FEATURE_* as found, name without the prefix in lower case -> tri-state
    features: dict[str, TriState] = Field(default_factory=dict)
    # The file that is watched for changed flags, and what every other source says of flags, by
    # the name of the variable; those stay as they are while the process runs.
    env_file: Path | None = None
    fixed_words: dict[str, TriState] = Field(default_factory=dict)

    @field_validator(*READING, mode="before")
    @classmethod
    def _read(cls, value: object, info: ValidationInfo) -> object:
        reads = READING[str(info.field_name)]
        return reads(value) if isinstance(value, str) and value else value

    @field_validator("DTRAG_HOME", "ARTIFACTS_DIR", mode="after")
    @classmethod
    def _home(cls, value: Path | None) -> Path | None:
        return value.expanduser() if value else value

    @field_validator("DTRAG_FAULTS")
    @classmethod
    def _faults(cls, value: str) -> str:
        setting_values.faults(value)
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.DTRAG_CHUNK_OVERLAP >= self.DTRAG_CHUNK_TOKENS:
            raise ValueError("DTRAG_CHUNK_OVERLAP must be smaller than DTRAG_CHUNK_TOKENS")
        weights = (self.DTRAG_DENSE_WEIGHT, self.DTRAG_LEXICAL_WEIGHT)
        if None not in weights and abs(sum(w for w in weights if w is not None) - 1) > 1e-9:
            raise ValueError("DTRAG_DENSE_WEIGHT and DTRAG_LEXICAL_WEIGHT must sum to 1")
        if self.DTRAG_RERANKER == setting_values.RERANK_BY_MODEL and not self.chat_models:
            raise ValueError("DTRAG_RERANKER=llm needs a chat model: DTRAG_LLM or GEMINI_API_KEY")
        if self.DTRAG_FAULTS and self.ENVIRONMENT != "development":
            raise ValueError("DTRAG_FAULTS breaks answers on purpose; ENVIRONMENT=development only")
        if self.ENVIRONMENT == "production":
            secret = self.SECRET_KEY.get_secret_value() if self.SECRET_KEY else ""
            setting_values.refuse_weak_secret(secret)
        return self

    @cached_property
    def chat_models(self) -> tuple[str, ...]:
        """The models to ask, best first, as `provider:model`; empty: answers are quotes."""
        named = setting_values.names(self.DTRAG_LLM)
        if not named and self.GEMINI_API_KEY is not None:
            named = (setting_values.DEFAULT_GEMINI,)
        return tuple(name for name in named if name not in setting_values.NO_MODEL)

    @cached_property
    def database_url(self) -> str:
        """The SQLAlchemy URL; SQLite under DTRAG_HOME when none is given."""
        embedded = (self.DTRAG_HOME / "dtrag.db").resolve()
        return self.DATABASE_URL or f"sqlite+aiosqlite:///{embedded}"

    @cached_property
    def faults(self) -> Mapping[str, setting_values.Fault]:
        """What is done to nodes on purpose, by node."""
        return setting_values.faults(self.DTRAG_FAULTS)

    @cached_property
    def artifacts_dir(self) -> Path:
        """Where index versions live."""
        return self.ARTIFACTS_DIR or self.DTRAG_HOME / "artifacts"

    @cached_property
    def kill_file(self) -> Path:
        """Names of flags that are off on this host whatever the database says, or `*`."""
        return self.DTRAG_HOME / "KILL"


def load(environ: Mapping[str, str] | None = None, **overrides: object) -> Settings:
    """Merge all sources and check them.

    Args:
        environ: stands for the process environment.
        overrides: settings that beat every source.

    Raises:
        SettingsError: with one sentence that names the variable.
    """
    env = present(environ)
    if "DTRAG_HOME" in overrides:
        env["DTRAG_HOME"] = str(overrides["DTRAG_HOME"])
    watched = Path(env.get("DTRAG_ENV_FILE") or ".env").absolute()
    merged, elsewhere = _merged(env, watched)
    known: dict[str, Any] = {name: merged[name] for name in Settings.model_fields if name in merged}
    if "MAX_WORKERS" in merged:  # the name of requirements document 001
        known.setdefault("WORKER_PROCESSES", merged["MAX_WORKERS"])
    try:
        features = _features(merged)
        fixed = {**flag_words(elsewhere), **_overridden(overrides)}
        files: dict[str, Any] = {"env_file": watched, "fixed_words": fixed}
        return Settings(**{**known, "features": features, **files, **overrides})
    except ValidationError as error:
        raise SettingsError(_sentence(error)) from None


def present(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment, of this process if none is given, without what counts as unset."""
    given = os.environ if environ is None else environ
    return {name: value for name, value in given.items() if value != ""}


def _merged(env: Mapping[str, str], watched: Path) -> tuple[dict[str, str], dict[str, str]]:
    """What all sources say, and what all but the env file say."""
    if "DTRAG_ENV_FILE" in env and not watched.is_file():
        raise SettingsError(f"DTRAG_ENV_FILE names {env['DTRAG_ENV_FILE']!r}, which is not a file.")
    from_file = read_env_file(watched) if watched.is_file() else {}
    secrets = _read_secrets(env.get("DTRAG_SECRETS_DIR") or from_file.get("DTRAG_SECRETS_DIR"))
    home = Path(env.get("DTRAG_HOME") or from_file.get("DTRAG_HOME") or "var").expanduser()
    quickstart = home / "dtrag.env"
    lowest = read_env_file(quickstart) if quickstart.is_file() else {}
    merged: dict[str, str] = {}
    for source in (lowest, secrets, from_file, env):
        merged.update({key: value for key, value in source.items() if value != ""})
    return merged, {**lowest, **secrets, **env}


def flag_words(values: Mapping[str, str]) -> dict[str, TriState]:
    """What variables say of flags, by their names; an empty one says nothing.

    Raises:
        SettingsError: names the variable whose value is no word.
    """
    found: dict[str, TriState] = {}
    for name, value in values.items():
        if value and (name.startswith("FEATURE_") or name in ("USE_HYBRID_SEARCH", "USE_RERANKER")):
            try:
                found[name] = tri_state(value)
            except ValueError as error:
                raise SettingsError(f"{name}: {error}.") from None
    return found


def _features(merged: Mapping[str, str]) -> dict[str, TriState]:
    named = {name: value for name, value in merged.items() if name.startswith("FEATURE_")}
    words = flag_words(named).items()
    return {name.removeprefix("FEATURE_").lower(): word for name, word in words}


def _overridden(overrides: Mapping[str, Any]) -> dict[str, TriState]:
    features: Mapping[str, TriState] = overrides.get("features", {})
    named = {f"FEATURE_{key.upper()}": word for key, word in features.items()}
    texts = {name: value for name, value in overrides.items() if isinstance(value, str)}
    return {**named, **flag_words(texts)}


def read_env_file(path: Path) -> dict[str, str]:
    """The values of a file of KEY=VALUE lines, see `env_file.parse`.

    Raises:
        SettingsError: names file and line.
    """
    try:
        return env_file.values(_text_of(path), path.name)
    except ValueError as error:
        raise SettingsError(str(error)) from None


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path.name} cannot be read: {type(error).__name__}.") from None


def _read_secrets(directory: str | None) -> dict[str, str]:
    if not directory:
        return {}
    root = Path(directory)
    if not root.is_dir():
        raise SettingsError(f"DTRAG_SECRETS_DIR names {directory!r}, which is not a directory.")
    named = (path for path in sorted(root.iterdir()) if env_file.VARIABLE.fullmatch(path.name))
    return {path.name: _text_of(path).strip() for path in named if path.is_file()}


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    message = str(first["msg"]).removeprefix("Value error, ")
    return f"{name}: {message}." if name else f"{message}."
