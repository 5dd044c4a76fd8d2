"""Make the tables of feature flags, staged rollouts and the chained audit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002_flags"
down_revision = "0001_first_tables"
branch_labels = None
depends_on = None

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
NO_HASH = "0" * 64

SQLITE_GUARDS = (
    "CREATE TRIGGER flag_audit_no_update BEFORE UPDATE ON flag_audit "
    "BEGIN SELECT RAISE(ABORT, 'flag_audit is append-only'); END",
    "CREATE TRIGGER flag_audit_no_delete BEFORE DELETE ON flag_audit "
    "BEGIN SELECT RAISE(ABORT, 'flag_audit is append-only'); END",
    # INSERT OR REPLACE deletes without asking the trigger above.
    "CREATE TRIGGER flag_audit_no_replace BEFORE INSERT ON flag_audit "
    "WHEN NEW.id IN (SELECT id FROM flag_audit) "
    "BEGIN SELECT RAISE(ABORT, 'flag_audit is append-only'); END",
)
POSTGRESQL_GUARDS = (
    "CREATE FUNCTION flag_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'flag_audit is append-only'; END $$",
    "CREATE TRIGGER flag_audit_no_change BEFORE UPDATE OR DELETE ON flag_audit "
    "FOR EACH ROW EXECUTE FUNCTION flag_audit_refuse()",
    "CREATE TRIGGER flag_audit_no_truncate BEFORE TRUNCATE ON flag_audit "
    "FOR EACH STATEMENT EXECUTE FUNCTION flag_audit_refuse()",
)


def upgrade() -> None:
    _flags()
    _rollouts()
    _counts()
    _evidence()
    _workers()
    _audit()


def downgrade() -> None:
    op.drop_table("flag_audit")
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP FUNCTION flag_audit_refuse()")
    op.drop_table("flag_leader")
    op.drop_table("flag_host_file")
    op.drop_table("flag_worker_ack")
    op.drop_table("flag_exposure")
    op.drop_table("flag_evidence")
    op.drop_table("flag_unit")
    op.drop_table("flag_vote")
    op.drop_table("flag_metric_counter")
    op.drop_table("learning_epoch")
    op.drop_table("flag_rollout")
    op.drop_table("flag_snapshot")
    op.drop_table("feature_flag")


def _flags() -> None:
    op.create_table(
        "feature_flag",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("definition", sa.JSON()),
        sa.Column("default_variant", sa.String(64)),
        sa.Column("hash_version", sa.String(8), nullable=False),
        sa.Column("salt", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("owner", sa.String(200)),
        sa.Column("expires_at", sa.Float()),
        sa.Column("killed", sa.Boolean(), nullable=False),
        sa.Column("killed_by", sa.String(200)),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_feature_flag"),
    )
    snapshot = op.create_table(
        "flag_snapshot",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("kill_all", sa.Boolean(), nullable=False),
        sa.Column("audit_rows", sa.Integer(), nullable=False),
        sa.Column("audit_head", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_flag_snapshot"),
    )
    first = {"id": 1, "version": 0, "kill_all": False, "audit_rows": 0, "audit_head": NO_HASH}
    op.bulk_insert(snapshot, [first])


def _rollouts() -> None:
    op.create_table(
        "flag_rollout",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("flag_key", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("arms", sa.JSON()),
        sa.Column("salt", sa.String(64), nullable=False),
        sa.Column("bucket_by", sa.JSON(), nullable=False),
        sa.Column("stages", sa.JSON(), nullable=False),
        sa.Column("stage_idx", sa.Integer(), nullable=False),
        sa.Column("percent", sa.Float(), nullable=False),
        sa.Column("holdback", sa.Float(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("policy", sa.JSON(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.Float()),
        sa.Column("stage_started_at", sa.Float()),
        sa.Column("tau", sa.JSON()),
        sa.Column("hold_reason", sa.String(64)),
        sa.Column("last_human_action", sa.JSON()),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_flag_rollout"),
    )
    op.create_index("ix_flag_rollout_flag_key", "flag_rollout", ["flag_key"])
    op.create_table(
        "learning_epoch",
        *_epoch(),
        sa.Column("flag_key", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("alpha", sa.Float(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("rollout_id", "epoch", name="pk_learning_epoch"),
    )
    op.create_index(
        "ix_learning_epoch_flag_key_started_at", "learning_epoch", ["flag_key", "started_at"]
    )


def _counts() -> None:
    op.create_table(
        "flag_metric_counter",
        *_epoch(),
        sa.Column("stage_idx", sa.Integer(), nullable=False),
        sa.Column("metric", sa.String(32), nullable=False),
        sa.Column("arm", sa.String(64), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("bad", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.Float(), nullable=False),
        sa.Column("total_sq", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint(
            *("rollout_id", "epoch", "stage_idx", "metric", "arm"), name="pk_flag_metric_counter"
        ),
    )
    once = ("rollout_id", "epoch", "metric", "unit_hash")
    op.create_table(
        "flag_vote",
        sa.Column("id", SERIAL, nullable=False),
        *_epoch(),
        sa.Column("metric", sa.String(32), nullable=False),
        sa.Column("unit_hash", sa.String(32), nullable=False),
        sa.Column("stage_idx", sa.Integer(), nullable=False),
        sa.Column("arm", sa.String(64), nullable=False),
        sa.Column("score", sa.Float()),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_flag_vote"),
        sa.UniqueConstraint(*once, name="uq_flag_vote_rollout_id_epoch_metric_unit_hash"),
    )
    op.create_table(
        "flag_unit",
        *_epoch(),
        sa.Column("unit_hash", sa.String(32), nullable=False),
        sa.Column("stage_idx", sa.Integer(), nullable=False),
        sa.Column("arm", sa.String(64), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("rollout_id", "epoch", "unit_hash", name="pk_flag_unit"),
    )


def _evidence() -> None:
    op.create_table(
        "flag_evidence",
        *_epoch(),
        sa.Column("metric", sa.String(32), nullable=False),
        sa.Column("log_e", sa.JSON(), nullable=False),
        sa.Column("log_e_minus", sa.JSON()),
        sa.Column("fold", sa.JSON()),
        sa.Column("look", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("rollout_id", "epoch", "metric", name="pk_flag_evidence"),
    )
    op.create_table(
        "flag_exposure",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("rollout_id", sa.String(40)),
        sa.Column("epoch", sa.Integer()),
        sa.Column("stage_idx", sa.Integer()),
        sa.Column("flag_key", sa.String(64), nullable=False),
        sa.Column("arm", sa.String(64), nullable=False),
        sa.Column("unit_hash", sa.String(32), nullable=False),
        sa.Column("request_id", sa.String(128), nullable=False),
        sa.Column("node", sa.String(64), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_flag_exposure"),
    )
    op.create_index("ix_flag_exposure_at", "flag_exposure", ["at"])


def _workers() -> None:
    op.create_table(
        "flag_worker_ack",
        sa.Column("worker_id", sa.String(80), nullable=False),
        sa.Column("host", sa.String(200), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("env_vetoes", sa.JSON(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("worker_id", name="pk_flag_worker_ack"),
    )
    op.create_table(
        "flag_host_file",
        sa.Column("host", sa.String(200), nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("changed_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("host", "source", name="pk_flag_host_file"),
    )
    op.create_table(
        "flag_leader",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("holder", sa.String(80), nullable=False),
        sa.Column("lease_until", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_flag_leader"),
    )


def _audit() -> None:
    op.create_table(
        "flag_audit",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("flag_key", sa.String(64)),
        sa.Column("before", sa.Text()),
        sa.Column("after", sa.Text()),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text()),
        sa.Column("prev_hash", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_flag_audit"),
    )
    op.create_index("ix_flag_audit_flag_key", "flag_audit", ["flag_key"])
    postgresql = op.get_context().dialect.name == "postgresql"
    for statement in POSTGRESQL_GUARDS if postgresql else SQLITE_GUARDS:
        op.execute(statement)


def _epoch() -> list[sa.Column[object]]:
    return [
        sa.Column("rollout_id", sa.String(40), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
    ]
