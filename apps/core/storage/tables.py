"""The tables of the product, in one metadata; portable to SQLite and PostgreSQL 15.

Those of flags are in `flag_tables.py`. Times are seconds since 1970 (UTC) as floats and end in
`_at` or `_until`; a row that is one event has its moment in `at`. JSON columns hold
canonical JSON. Vectors are little-endian float32 in `chunk_vector.vector`.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = MetaData(naming_convention=NAMING)

document = Table(
    "document",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("title", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("checksum", String(64), nullable=False, unique=True),
    Column("language", String(8), nullable=False),
    Column("format", String(16), nullable=False),
    Column("source_url", Text),
    Column("date", String(10)),
    Column("version", String(64)),
    Column("license", String(64)),
    Column("tags", JSON, nullable=False),
    Column("category", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
)

chunk = Table(
    "chunk",
    metadata,
    Column("id", String(160), primary_key=True),
    Column("doc_id", ForeignKey("document.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("ordinal", Integer, nullable=False),
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    Column("language", String(8), nullable=False),
    UniqueConstraint("doc_id", "ordinal"),
)

chunk_vector = Table(
    "chunk_vector",
    metadata,
    Column("chunk_id", ForeignKey("chunk.id", ondelete="CASCADE"), primary_key=True),
    Column("embedder_id", String(128), primary_key=True),
    Column("vector", LargeBinary, nullable=False),
)

job = Table(
    "job",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("kind", String(16), nullable=False),  # ingest | delete | embed | answer
    Column("state", String(16), nullable=False),  # queued | running | done | failed | cancelled
    Column("payload", JSON, nullable=False),
    Column("total", Integer, nullable=False),
    Column("finished", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("run_after_at", Float, nullable=False),
    Column("locked_by", String(80)),
    Column("lease_until", Float),
    Column("error_code", String(64)),
    Column("error", Text),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    Index("ix_job_state_run_after_at", "state", "run_after_at"),
)

job_item = Table(
    "job_item",
    metadata,
    Column("job_id", ForeignKey("job.id", ondelete="CASCADE"), primary_key=True),
    Column("ordinal", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("state", String(16), nullable=False),  # queued | stored | duplicate | unchanged | failed
    Column("content", LargeBinary),  # the upload itself, emptied when the item is finished
    Column("meta", JSON, nullable=False),
    Column("doc_ids", JSON, nullable=False),
    Column("error_code", String(64)),
    Column("error", Text),
)

run_event = Table(
    "run_event",
    metadata,
    Column("job_id", ForeignKey("job.id", ondelete="CASCADE"), primary_key=True),
    Column("ordinal", Integer, primary_key=True),  # from 1; a row 0 says that somebody reads
    Column("frame", Text, nullable=False),  # as it is sent
)

api_key = Table(
    "api_key",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("hash", String(64), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("tenant", String(64), nullable=False),
    Column("allowed_ips", JSON, nullable=False),
    Column("rate_limit_per_minute", Integer),
    Column("quota_per_day", Integer),
    Column("expires_at", Float),
    Column("revoked_at", Float),
    Column("rotated_from", String(16)),
    Column("created_at", Float, nullable=False),
    Column("last_used_at", Float),
)

api_key_usage = Table(
    "api_key_usage",
    metadata,
    Column("key_id", ForeignKey("api_key.id", ondelete="CASCADE"), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("requests", Integer, nullable=False),
)

answer = Table(
    "answer",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("request_id", String(128), nullable=False),
    Column("key_id", String(16)),
    Column("question_masked", Text, nullable=False),
    Column("body", JSON, nullable=False),  # the response body as it was sent
    Column("created_at", Float, nullable=False, index=True),
)

feedback = Table(
    "feedback",
    metadata,
    Column("answer_id", ForeignKey("answer.id", ondelete="CASCADE"), primary_key=True),
    Column("caller", String(80), primary_key=True),  # key id, or a keyed hash of the user
    Column("reward", Float, nullable=False),  # -1..1
    Column("rating", Integer),
    Column("thumbs_up", Boolean),
    Column("comment_masked", Text),
    Column("labels", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
)

idempotency_key = Table(
    "idempotency_key",
    metadata,
    Column("caller", String(80), primary_key=True),
    Column("route", String(64), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("body_sha256", String(64), nullable=False),
    Column("status", Integer),  # null while the first request is still running
    Column("response", LargeBinary),
    Column("created_at", Float, nullable=False, index=True),
)

change = Table(
    "change",
    metadata,
    Column("topic", String(32), primary_key=True),  # keys | flags | documents | cache | runs
    Column("version", Integer, nullable=False),
)
