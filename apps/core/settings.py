"""Every value that the environment may set; the only reader of the environment.

Order: argument, process environment, env file (`DTRAG_ENV_FILE`, else `./.env`), secrets
directory (`DTRAG_SECRETS_DIR`, one file a variable), `DTRAG_HOME/dtrag.env` (written by
`dtrag quickstart`), default. An empty string counts as unset. A value that cannot be used
stops the start with one sentence that names the variable.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

TriState = Literal["true", "false", "auto"]
ON = frozenset({"true", "1", "yes", "on"})
OFF = frozenset({"false", "0", "no", "off"})
MIN_SECRET_BYTES = 32
EXAMPLE_SECRETS = ("change-me", "changeme", "production-secret-key", "replace-me", "example")


class SettingsError(Exception):
    """A value in the environment cannot be used; the message names the variable."""


class Settings(BaseSettings):
    """The configuration of one process, frozen."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", case_sensitive=True)

    ENVIRONMENT: Literal["development", "test", "production"] = "development"
    DTRAG_HOME: Path = Path("var")
    DATABASE_URL: str = ""
    REDIS_URL: str = ""
    ARTIFACTS_DIR: Path | None = None
    SECRET_KEY: SecretStr | None = None
    GEMINI_API_KEY: SecretStr | None = None
    GEMINI_BASE_URL: str = ""
    DTRAG_LLM: str = ""
    DTRAG_EMBEDDER: str = "auto"
    DTRAG_RERANKER: str = "none"
    DTRAG_FUSION: Literal["convex", "rrf"] = "convex"
    DTRAG_DENSE_WEIGHT: float | None = Field(default=None, ge=0, le=1)
    DTRAG_LEXICAL_WEIGHT: float | None = Field(default=None, ge=0, le=1)
    DTRAG_CHUNK_TOKENS: int = Field(default=500, ge=32, le=4000)
    DTRAG_CHUNK_OVERLAP: int = Field(default=128, ge=0, le=1000)
    DTRAG_FAISS_ABOVE: int = Field(default=20_000, ge=1)
    USE_HYBRID_SEARCH: TriState = "auto"
    USE_RERANKER: TriState = "auto"
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
    SAMPLE_CORPUS: Path | None = None

    # FEATURE_* as found, name without the prefix in lower case -> tri-state
    features: dict[str, TriState] = Field(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take only what `load` has merged; it alone knows the order of sources."""
        return (init_settings,)

    @field_validator("USE_HYBRID_SEARCH", "USE_RERANKER", mode="before")
    @classmethod
    def _tri_state(cls, value: str) -> str:
        return tri_state(value)

    @field_validator("ENVIRONMENT", mode="before")
    @classmethod
    def _lower(cls, value: str) -> str:
        return value.lower()

    @field_validator("LOG_LEVEL", mode="before")
    @classmethod
    def _upper(cls, value: str) -> str:
        return value.upper()

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.DTRAG_CHUNK_OVERLAP >= self.DTRAG_CHUNK_TOKENS:
            raise ValueError("DTRAG_CHUNK_OVERLAP must be smaller than DTRAG_CHUNK_TOKENS")
        weights = (self.DTRAG_DENSE_WEIGHT, self.DTRAG_LEXICAL_WEIGHT)
        if None not in weights and abs(sum(w for w in weights if w is not None) - 1) > 1e-9:
            raise ValueError("DTRAG_DENSE_WEIGHT and DTRAG_LEXICAL_WEIGHT must sum to 1")
        if self.ENVIRONMENT == "production":
            _refuse_weak_secret(self.SECRET_KEY)
        return self

    @cached_property
    def database_url(self) -> str:
        """The SQLAlchemy URL; SQLite under DTRAG_HOME when none is given."""
        return (
            self.DATABASE_URL or f"sqlite+aiosqlite:///{(self.DTRAG_HOME / 'dtrag.db').resolve()}"
        )

    @cached_property
    def artifacts_dir(self) -> Path:
        """Where index versions live."""
        return self.ARTIFACTS_DIR or self.DTRAG_HOME / "artifacts"


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


def load(environ: Mapping[str, str] | None = None, **overrides: object) -> Settings:
    """Merge all sources and check them.

    Raises:
        SettingsError: with one sentence that names the variable.
    """
    merged = _merged(dict(os.environ if environ is None else environ))
    try:
        features = _features(merged)
        return Settings(**{**merged, "features": features, **overrides})  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingsError(_sentence(error)) from None


# pydantic reads strings; the ignore above is for `**dict[str, object]`.


def _merged(environ: dict[str, str]) -> dict[str, object]:
    env = {key: value for key, value in environ.items() if value != ""}
    env_file = Path(env.get("DTRAG_ENV_FILE", ".env"))
    if "DTRAG_ENV_FILE" in env and not env_file.is_file():
        raise SettingsError(f"DTRAG_ENV_FILE names {str(env_file)!r}, which is not a file.")
    from_file = read_env_file(env_file) if env_file.is_file() else {}
    secrets = _read_secrets(env.get("DTRAG_SECRETS_DIR") or from_file.get("DTRAG_SECRETS_DIR"))
    home = Path(env.get("DTRAG_HOME") or from_file.get("DTRAG_HOME") or "var")
    quickstart = home / "dtrag.env"
    lowest = read_env_file(quickstart) if quickstart.is_file() else {}
    merged: dict[str, object] = {}
    for source in (lowest, secrets, from_file, env):
        merged.update({key: value for key, value in source.items() if value != ""})
    return merged


def _features(merged: Mapping[str, object]) -> dict[str, TriState]:
    found: dict[str, TriState] = {}
    for name, value in merged.items():
        if name.startswith("FEATURE_"):
            try:
                found[name.removeprefix("FEATURE_").lower()] = tri_state(str(value))
            except ValueError as error:
                raise SettingsError(f"{name}: {error}.") from None
    return found


def read_env_file(path: Path) -> dict[str, str]:
    """Read KEY=VALUE lines: optional quotes, `#` comments, no interpolation.

    Raises:
        SettingsError: names file and line; a value with `$(` or a backquote is refused because
            a shell and a container would read it differently.
    """
    values: dict[str, str] = {}
    text = path.read_text(encoding="utf-8-sig")
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        match = re.fullmatch(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)", line)
        if match is None:
            raise SettingsError(f"{path.name} line {number} is not KEY=VALUE.")
        key, value = match[1], _unquote(match[2])
        if "$(" in value or "`" in value:
            raise SettingsError(
                f"{path.name} line {number}: {key} holds a command substitution, "
                "which is never run."
            )
        if key in values:
            raise SettingsError(f"{path.name} line {number}: {key} is given twice.")
        values[key] = value
    return values


def _unquote(value: str) -> str:
    if len(value) >= 2 and value[0] in "'\"":
        end = value.find(value[0], 1)
        if end > 0:
            return value[1:end]
    return re.split(r"\s+#", value, maxsplit=1)[0].strip()


def _read_secrets(directory: str | None) -> dict[str, str]:
    if not directory:
        return {}
    root = Path(directory)
    if not root.is_dir():
        raise SettingsError(f"DTRAG_SECRETS_DIR names {directory!r}, which is not a directory.")
    files = (path for path in sorted(root.iterdir()) if path.is_file())
    return {path.name: path.read_text(encoding="utf-8").strip() for path in files}


def _refuse_weak_secret(secret: SecretStr | None) -> None:
    value = secret.get_secret_value() if secret else ""
    if len(value.encode()) < MIN_SECRET_BYTES:
        raise ValueError(f"SECRET_KEY needs at least {MIN_SECRET_BYTES} bytes in production")
    if any(word in value.lower() for word in EXAMPLE_SECRETS):
        raise ValueError("SECRET_KEY still holds an example value")


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    message = str(first["msg"]).removeprefix("Value error, ")
    return f"{name}: {message}." if name else f"{message}."
