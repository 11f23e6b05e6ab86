"""What evidence changes about a payout stands in no index: most updates of a payout touch none."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

HELD_DAY = (
    "CASE WHEN status::text = 'pending'::text OR status::text = 'scheduled'::text THEN business_day ELSE NULL::date END"
)
IN_FLIGHT = "status IN ('broadcast', 'initiated', 'pending', 'scheduled')"


def upgrade() -> None:
    """Let two indexes look at what seldom changes instead, and leave room for new versions where the old ones are."""
    op.execute("ALTER TABLE payout SET (fillfactor = 40)")
    op.add_column("payout", sa.Column("quiet_since", sa.DateTime(timezone=True)))
    op.execute(f"UPDATE payout SET quiet_since = advanced_at WHERE {IN_FLIGHT}")  # noqa: S608 (our own words)
    op.drop_index("ix_payout_in_flight", "payout")
    op.create_index("ix_payout_quiet", "payout", ["quiet_since"], postgresql_where=sa.text("quiet_since IS NOT NULL"))
    op.create_check_constraint("in_flight_is_quiet_since", "payout", f"quiet_since IS NOT NULL OR NOT ({IN_FLIGHT})")
    op.create_check_constraint("quiet_since_no_later", "payout", "quiet_since <= advanced_at")

    op.add_column("payout", sa.Column("held_day", sa.Date(), sa.Computed(HELD_DAY, persisted=True)))
    op.drop_index("uq_payout_balance_day", "payout")
    op.create_index(
        "uq_payout_balance_day",
        "payout",
        ["balance_id", "held_day"],
        unique=True,
        postgresql_where=sa.text("held_day IS NOT NULL"),
    )


def downgrade() -> None:
    """Refuse: steps go forward only."""
    raise RuntimeError("there is no way down; restore a backup instead")
