"""Keep what runs tell, so that any worker can tell it on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004_run_events"
down_revision = "0003_worker_report"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "run_event",
        sa.Column("job_id", sa.String(40), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("frame", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["job.id"], name="fk_run_event_job_id_job", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "ordinal", name="pk_run_event"),
    )


def downgrade() -> None:
    op.drop_table("run_event")
    # The release before does not know these jobs and would keep them for ever.
    op.execute("DELETE FROM job WHERE kind = 'answer'")
