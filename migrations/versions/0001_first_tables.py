"""Make the first tables: documents, jobs, keys, answers, bookkeeping."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001_first_tables"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _documents()
    _jobs()
    _keys()
    _answers()
    _bookkeeping()


def downgrade() -> None:
    op.drop_table("change")
    op.drop_table("idempotency_key")
    op.drop_table("feedback")
    op.drop_table("answer")
    op.drop_table("api_key_usage")
    op.drop_table("api_key")
    op.drop_table("job_item")
    op.drop_table("job")
    op.drop_table("chunk_vector")
    op.drop_table("chunk")
    op.drop_table("document")


def _documents() -> None:
    op.create_table(
        "document",
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("checksum", sa.String(64), nullable=False),
        sa.Column("language", sa.String(8), nullable=False),
        sa.Column("format", sa.String(16), nullable=False),
        sa.Column("source_url", sa.Text()),
        sa.Column("date", sa.String(10)),
        sa.Column("version", sa.String(64)),
        sa.Column("license", sa.String(64)),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("category", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_document"),
        sa.UniqueConstraint("checksum", name="uq_document_checksum"),
    )
    op.create_table(
        "chunk",
        sa.Column("id", sa.String(160), nullable=False),
        sa.Column("doc_id", sa.String(128), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("end", sa.Integer(), nullable=False),
        sa.Column("language", sa.String(8), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_chunk"),
        sa.UniqueConstraint("doc_id", "ordinal", name="uq_chunk_doc_id_ordinal"),
        _belongs("chunk", "doc_id", "document"),
    )
    op.create_index("ix_chunk_doc_id", "chunk", ["doc_id"])
    op.create_table(
        "chunk_vector",
        sa.Column("chunk_id", sa.String(160), nullable=False),
        sa.Column("embedder_id", sa.String(128), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("chunk_id", "embedder_id", name="pk_chunk_vector"),
        _belongs("chunk_vector", "chunk_id", "chunk"),
    )


def _jobs() -> None:
    op.create_table(
        "job",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("finished", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("run_after_at", sa.Float(), nullable=False),
        sa.Column("locked_by", sa.String(80)),
        sa.Column("lease_until", sa.Float()),
        sa.Column("error_code", sa.String(64)),
        sa.Column("error", sa.Text()),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_job"),
    )
    op.create_index("ix_job_state_run_after_at", "job", ["state", "run_after_at"])
    op.create_table(
        "job_item",
        sa.Column("job_id", sa.String(40), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("content", sa.LargeBinary()),
        sa.Column("meta", sa.JSON(), nullable=False),
        sa.Column("doc_ids", sa.JSON(), nullable=False),
        sa.Column("error_code", sa.String(64)),
        sa.Column("error", sa.Text()),
        sa.PrimaryKeyConstraint("job_id", "ordinal", name="pk_job_item"),
        _belongs("job_item", "job_id", "job"),
    )


def _keys() -> None:
    op.create_table(
        "api_key",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("allowed_ips", sa.JSON(), nullable=False),
        sa.Column("rate_limit_per_minute", sa.Integer()),
        sa.Column("quota_per_day", sa.Integer()),
        sa.Column("expires_at", sa.Float()),
        sa.Column("revoked_at", sa.Float()),
        sa.Column("rotated_from", sa.String(16)),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("last_used_at", sa.Float()),
        sa.PrimaryKeyConstraint("id", name="pk_api_key"),
    )
    op.create_table(
        "api_key_usage",
        sa.Column("key_id", sa.String(16), nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "day", name="pk_api_key_usage"),
        _belongs("api_key_usage", "key_id", "api_key"),
    )


def _answers() -> None:
    op.create_table(
        "answer",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("request_id", sa.String(128), nullable=False),
        sa.Column("key_id", sa.String(16)),
        sa.Column("question_masked", sa.Text(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_answer"),
    )
    op.create_index("ix_answer_created_at", "answer", ["created_at"])
    op.create_table(
        "feedback",
        sa.Column("answer_id", sa.String(40), nullable=False),
        sa.Column("caller", sa.String(80), nullable=False),
        sa.Column("reward", sa.Float(), nullable=False),
        sa.Column("rating", sa.Integer()),
        sa.Column("thumbs_up", sa.Boolean()),
        sa.Column("comment_masked", sa.Text()),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("answer_id", "caller", name="pk_feedback"),
        _belongs("feedback", "answer_id", "answer"),
    )


def _bookkeeping() -> None:
    op.create_table(
        "idempotency_key",
        sa.Column("caller", sa.String(80), nullable=False),
        sa.Column("route", sa.String(64), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("body_sha256", sa.String(64), nullable=False),
        sa.Column("status", sa.Integer()),
        sa.Column("response", sa.LargeBinary()),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("caller", "route", "key", name="pk_idempotency_key"),
    )
    op.create_index("ix_idempotency_key_created_at", "idempotency_key", ["created_at"])
    op.create_table(
        "change",
        sa.Column("topic", sa.String(32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("topic", name="pk_change"),
    )


def _belongs(table: str, column: str, owner: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column], [f"{owner}.id"], name=f"fk_{table}_{column}_{owner}", ondelete="CASCADE"
    )
