"""An observation says how much has arrived: the rest of a payout is given back on such a word alone."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

GIVEN_BACK = """
    UPDATE observation o SET processed_amount_minor = p.processed_amount_minor FROM payout p
    WHERE p.balance_id IS NOT NULL AND p.status = 'delivered' AND p.processed_amount_minor < p.amount_minor
        AND o.payout_id = p.id AND o.epoch = p.epoch
        AND o.source IN ('poll', 'submission', 'operator') AND o.status = 'delivered'
"""


def upgrade() -> None:
    """Add the amount, and let what has been given back by now stay so: else it would be held once more."""
    op.add_column("observation", sa.Column("processed_amount_minor", sa.BigInteger()))
    op.execute(GIVEN_BACK)


def downgrade() -> None:
    """Refuse: steps go forward only."""
    raise RuntimeError("there is no way down; restore a backup instead")
