"""The tables of feature flags, rollouts and their evidence, in the metadata of `tables.py`.

`unit_hash` is 32 hexadecimal characters of a keyed hash; who a unit is never stored. Columns
that say which numbers they hold by their name (`percent`, `holdback`) are 0-100.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from apps.core.storage.tables import metadata

# None must be SQL's NULL in both engines, not the JSON word null.
OPTIONAL_JSON = JSON(none_as_null=True)
# SQLite counts by itself only in a column that is called INTEGER.
SERIAL = BigInteger().with_variant(Integer, "sqlite")

feature_flag = Table(
    "feature_flag",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("definition", OPTIONAL_JSON),  # flagd JSON; null when SQL only knows the kill mark
    Column("default_variant", String(64)),  # null: SQL has no opinion
    Column("hash_version", String(8), nullable=False),  # v2 | v3
    Column("salt", String(64), nullable=False),
    Column("kind", String(16), nullable=False),  # release | ops | experiment
    Column("owner", String(200)),
    Column("expires_at", Float),
    Column("killed", Boolean, nullable=False),
    Column("killed_by", String(200)),
    Column("version", Integer, nullable=False),
)

# One row, made by the migration: every change of a flag locks it first.
flag_snapshot = Table(
    "flag_snapshot",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
    Column("kill_all", Boolean, nullable=False),
    Column("audit_rows", Integer, nullable=False),  # how many rows flag_audit must have
    Column("audit_head", String(64), nullable=False),  # the hash of the last of them
)

flag_rollout = Table(
    "flag_rollout",
    metadata,
    Column("id", String(40), primary_key=True),
    # No foreign key: a flag may live in code only, and history outlives a deleted flag.
    Column("flag_key", String(64), nullable=False, index=True),
    Column("kind", String(16), nullable=False),  # rollout | experiment
    Column("arms", OPTIONAL_JSON),  # experiments: variant -> weight
    Column("salt", String(64), nullable=False),
    Column("bucket_by", JSON, nullable=False),
    Column("stages", JSON, nullable=False),  # percents
    Column("stage_idx", Integer, nullable=False),
    Column("percent", Float, nullable=False),
    Column("holdback", Float, nullable=False),
    Column("state", String(16), nullable=False),
    Column("policy", JSON, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("started_at", Float),
    Column("stage_started_at", Float),
    Column("tau", OPTIONAL_JSON),  # limits frozen at the start of the stage
    Column("hold_reason", String(64)),
    Column("last_human_action", OPTIONAL_JSON),
    Column("version", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
)

# What was learned in an epoch counts only when its row says accepted.
learning_epoch = Table(
    "learning_epoch",
    metadata,
    Column("rollout_id", String(40), primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("flag_key", String(64), nullable=False),
    Column("state", String(16), nullable=False),  # running | accepted | quarantined
    Column("alpha", Float, nullable=False),  # chance of a false rollback that it may spend
    Column("started_at", Float, nullable=False),
    Column("at", Float, nullable=False),  # since when it has this state
    Index("ix_learning_epoch_flag_key_started_at", "flag_key", "started_at"),
)

flag_metric_counter = Table(
    "flag_metric_counter",
    metadata,
    Column("rollout_id", String(40), primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("stage_idx", Integer, primary_key=True),
    Column("metric", String(32), primary_key=True),
    Column("arm", String(64), primary_key=True),
    Column("n", BigInteger, nullable=False),
    Column("bad", BigInteger, nullable=False),
    Column("total", Float, nullable=False),
    Column("total_sq", Float, nullable=False),
)

flag_vote = Table(
    "flag_vote",
    metadata,
    Column("id", SERIAL, primary_key=True),  # the order in which scores are applied
    Column("rollout_id", String(40), nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("metric", String(32), nullable=False),
    Column("unit_hash", String(32), nullable=False),
    Column("stage_idx", Integer, nullable=False),
    Column("arm", String(64), nullable=False),
    Column("score", Float),  # null: a bad event; else 0..1, lower is worse
    Column("at", Float, nullable=False),
    UniqueConstraint("rollout_id", "epoch", "metric", "unit_hash"),
)

# When a sticky unit was first seen; units that are single requests are only counted.
flag_unit = Table(
    "flag_unit",
    metadata,
    Column("rollout_id", String(40), primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("unit_hash", String(32), primary_key=True),
    Column("stage_idx", Integer, nullable=False),
    Column("arm", String(64), nullable=False),
    Column("at", Float, nullable=False),
)

flag_evidence = Table(
    "flag_evidence",
    metadata,
    Column("rollout_id", String(40), primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("metric", String(32), primary_key=True),
    Column("log_e", JSON, nullable=False),  # one number a mixture point
    Column("log_e_minus", OPTIONAL_JSON),  # null for a score, which has no such test
    Column("fold", OPTIONAL_JSON),  # how far the scores are applied
    Column("look", Integer, nullable=False),
    Column("at", Float, nullable=False),
)

flag_exposure = Table(
    "flag_exposure",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("rollout_id", String(40)),  # null: a share that was set by hand
    Column("epoch", Integer),
    Column("stage_idx", Integer),
    Column("flag_key", String(64), nullable=False),
    Column("arm", String(64), nullable=False),
    Column("unit_hash", String(32), nullable=False),
    Column("request_id", String(128), nullable=False),
    Column("node", String(64), nullable=False),
    Column("at", Float, nullable=False, index=True),
)

flag_worker_ack = Table(
    "flag_worker_ack",
    metadata,
    Column("worker_id", String(80), primary_key=True),
    Column("host", String(200), nullable=False),
    Column("version", Integer, nullable=False),
    Column("env_vetoes", JSON, nullable=False),
    Column("report", OPTIONAL_JSON),  # see `flags/signs.py`; null from an older release
    Column("at", Float, nullable=False),  # by the database's clock
)

flag_host_file = Table(
    "flag_host_file",
    metadata,
    Column("host", String(200), primary_key=True),
    Column("source", String(16), primary_key=True),  # envfile | killfile
    Column("sha256", String(64), nullable=False),
    Column("content", JSON, nullable=False),  # what it says of flags
    Column("changed_at", Float, nullable=False),
)

flag_leader = Table(
    "flag_leader",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("holder", String(80), nullable=False),
    Column("lease_until", Float, nullable=False),  # by the database's clock
)

# Append-only, see `flag_audit.py`. The texts hold canonical JSON as it was hashed.
flag_audit = Table(
    "flag_audit",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # 1, 2, 3 … without gaps
    Column("at", Float, nullable=False),
    Column("actor", String(200), nullable=False),
    Column("source", String(16), nullable=False),
    Column("flag_key", String(64), index=True),  # null: all flags
    Column("before", Text),
    Column("after", Text),
    Column("reason", Text, nullable=False),
    Column("evidence", Text),
    Column("prev_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)
