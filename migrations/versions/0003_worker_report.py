"""Let workers report what only they can see: their host's words, its KILL file, sick nodes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003_worker_report"
down_revision = "0002_flags"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Nullable, because workers of the release before write rows without it.
    op.add_column("flag_worker_ack", sa.Column("report", sa.JSON()))


def downgrade() -> None:
    op.drop_column("flag_worker_ack", "report")
