"""What comes in for reading: files by multipart, texts in JSON, or one address."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from apps.api.bodies import read_json, whole_body
from apps.api.errors import unreadable
from apps.api.render import JSON_TYPE
from apps.api.schemas.base import NO_NUL
from apps.api.schemas.documents import MAX_FIELD_CHARS, DocumentBody, FormFields, IntakeBody
from apps.api.services import services_of
from apps.core.errors import MissingParameter, TooLarge, Unprocessable, UserFailure
from apps.ingestion.items import ItemMeta, NewItem

MULTIPART = "multipart/form-data"
MAX_FILES = 100
MAX_NAME_CHARS = 255
TEXT_FIELD = {"type": "string", "maxLength": MAX_FIELD_CHARS, "pattern": NO_NUL}
REQUEST_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        JSON_TYPE: {
            "schema": {"$ref": "#/components/schemas/IntakeBody"},
            "examples": {
                "texts": {
                    "value": {
                        "documents": [
                            {"id": "note-1", "title": "메모", "text": "색인은 매일 밤 갱신된다."}
                        ]
                    }
                },
                "address": {"value": {"url": "https://example.org/handbook.html"}},
            },
        },
        MULTIPART: {
            "schema": {
                "type": "object",
                "required": ["files"],
                "additionalProperties": False,
                "properties": {
                    "files": {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": MAX_FILES,
                        "items": {"type": "string", "format": "binary"},
                        "description": "pdf docx html md txt csv jsonl hwp hwpx",
                    },
                    "tags": {**TEXT_FIELD, "description": "Separated by commas."},
                    "category": {**TEXT_FIELD, "description": "A path, e.g. ai/rag."},
                    "language": {"enum": ["ko", "en"]},
                    "date": {"type": "string", "format": "date"},
                },
            }
        },
    },
}


@dataclass(frozen=True, slots=True)
class Submission:
    """Items, or one address."""

    items: tuple[NewItem, ...] = ()
    url: str | None = None


async def read_submission(request: Request) -> tuple[bytes, Submission]:
    """What was sent, and bytes that tell it from any other submission.

    Raises:
        UserFailure: the form cannot be read, or has no file.
        TooLarge: a file is over its limit.
    """
    if request.headers.get("content-type", "").lower().startswith(MULTIPART):
        return await _form(request)
    body = await read_json(request, IntakeBody)
    raw = await whole_body(request)
    if body.url is not None:
        return raw, Submission(url=body.url)
    return raw, Submission(tuple(_text(each) for each in body.documents or ()))


def _text(body: DocumentBody) -> NewItem:
    meta = ItemMeta(
        id=body.id,
        title=body.title,
        source_url=body.source_url,
        tags=tuple(body.tags),
        category=tuple(body.category),
        language=body.language,
        date=body.date,
        version=body.version,
        license=body.license,
    )
    return NewItem(body.title, body.text.encode(), meta, format="txt")


async def _form(request: Request) -> tuple[bytes, Submission]:
    try:
        form = await request.form(max_files=MAX_FILES, max_fields=20, max_part_size=64 * 1024)
    except MultiPartException as error:
        raise UserFailure(f"The form cannot be read: {error.message}") from None
    try:
        fields = _fields(form)
        limit = services_of(request).settings.MAX_UPLOAD_BYTES
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        items = tuple([await _file(each, fields, limit) for each in files])
    finally:
        await form.close()
    if not items:
        raise MissingParameter("files: at least one file is needed")
    digest = hashlib.sha256(fields.model_dump_json().encode())
    for item in items:
        digest.update(b"%d:%b%b" % (len(item.content), item.name.encode(), item.content))
    return digest.digest(), Submission(items)


def _fields(form: FormData) -> FormFields:
    given = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
    if len(dict(given)) != len(given):
        raise Unprocessable("a field is given twice")
    try:
        return FormFields.model_validate(dict(given))
    except ValidationError as error:
        raise unreadable(error) from None


async def _file(value: UploadFile, fields: FormFields, max_bytes: int) -> NewItem:
    content = await value.read()
    if len(content) > max_bytes:
        raise TooLarge(f"A file is larger than {max_bytes} bytes.")
    meta = ItemMeta(
        tags=fields.tag_list(),
        category=fields.category_path(),
        language=fields.language,
        date=fields.date,
    )
    return NewItem(safe_name(value.filename or ""), content, meta)


def safe_name(name: str) -> str:
    """The last part of a file's name, printable and short; `file` when nothing is left."""
    last = re.split(r"[/\\]", name)[-1]
    shown = "".join(letter for letter in last if letter.isprintable())
    return shown.strip(". ")[-MAX_NAME_CHARS:] or "file"
