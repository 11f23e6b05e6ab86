"""What arrived is never written again; which events are new or were set aside stands in tables of their own."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Move the states out of the events.

    `headers` gets another name so that receivers from before this step fail: they would store events, answer 200, and
    name them nowhere as new.
    """
    op.create_table(
        "inbox_new",
        sa.Column("event_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.Column("swept_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_inbox_new")),
    )
    op.create_table(
        "inbox_set_aside",
        sa.Column("event_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("integration_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("set_aside_at", MOMENT, nullable=False),
        sa.Column("detail", sa.String(), nullable=False),
        sa.Column("reference", sa.String(), nullable=True),
        sa.Column("order_key", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_inbox_set_aside")),
    )
    op.execute("LOCK TABLE inbox_event IN ACCESS EXCLUSIVE MODE")
    op.execute(
        "INSERT INTO inbox_new (event_id, received_at, swept_at)"
        " SELECT id, received_at, swept_at FROM inbox_event WHERE state = 'new'"
    )
    op.execute(
        "INSERT INTO inbox_set_aside (event_id, integration_id, state, set_aside_at, detail, reference, order_key)"
        " SELECT id, integration_id, state, coalesce(applied_at, received_at), coalesce(detail, ''), reference,"
        " order_key"
        " FROM inbox_event WHERE state IN ('unmatched', 'unreadable', 'conflict', 'poison')"
    )
    op.create_index(
        "ix_inbox_set_aside_unmatched",
        "inbox_set_aside",
        ["integration_id", "reference"],
        postgresql_where=sa.text("state = 'unmatched'"),
    )
    for index in ("new", "unmatched", "for_people"):
        op.drop_index(f"ix_inbox_event_{index}", "inbox_event")
    for column in ("state", "applied_at", "swept_at", "detail", "reference", "order_key"):
        op.drop_column("inbox_event", column)
    op.alter_column("inbox_event", "headers", new_column_name="header_lines")
    op.execute("ALTER TABLE inbox_event RESET (fillfactor)")


def downgrade() -> None:
    """Refuse: steps go forward only."""
    raise RuntimeError("there is no way down; restore a backup instead")
