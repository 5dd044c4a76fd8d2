"""The service's secret: SECRET_KEY, or outside production a file that is made once."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from apps.core.errors import SystemFailure
from apps.core.settings import Settings

FILE_NAME = "secret_key"
SECRET_BYTES = 32


def service_secret(settings: Settings) -> bytes:
    """The pepper of key hashes and of every other keyed hash.

    Raises:
        SystemFailure: the secret's file is shorter than a secret.
    """
    if settings.SECRET_KEY is not None:
        return settings.SECRET_KEY.get_secret_value().encode()
    path = settings.DTRAG_HOME / FILE_NAME
    if not path.exists():
        _make(path)
    secret = path.read_bytes()
    if len(secret) < SECRET_BYTES:
        raise SystemFailure(f"{FILE_NAME} in DTRAG_HOME is damaged; keys cannot be checked.")
    return secret


def _make(path: Path) -> None:
    """Make the file whole and with mode 600, or leave the one that another process made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{FILE_NAME}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(handle, secrets.token_bytes(SECRET_BYTES))
        os.fsync(handle)
        with contextlib.suppress(FileExistsError):
            # A hard link never replaces: of two racing processes the first one wins.
            path.hardlink_to(draft)
    finally:
        os.close(handle)
        draft.unlink()
