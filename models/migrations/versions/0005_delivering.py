"""What endpoints may choose, and how they fare; notices, which are events about endpoints."""

import sqlalchemy as sa
import sqlmodel
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Widen `endpoint`, and let deliveries carry events that are no payout's."""
    _widen_endpoint()
    _create_notice()
    op.alter_column("delivery", "payout_id", nullable=True)
    op.alter_column("payout_event", "payload", nullable=True)
    _index_what_is_due_by_endpoint()
    _own_events()
    _follow_deliveries()
    _create_recovery()
    _create_portal_link()


def _widen_endpoint() -> None:
    text, moment = sqlmodel.sql.sqltypes.AutoString(), sqlmodel.sql.sqltypes.UTCDateTime()
    labels = postgresql.JSONB(astext_type=sa.Text())
    for column in (
        sa.Column("labels", labels, server_default="{}", nullable=False),
        sa.Column("test_mode", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("schemes", sa.ARRAY(sa.Text()), server_default="{v1}", nullable=False),
        sa.Column("sealed_headers", sa.LargeBinary(), nullable=True),
        sa.Column("rate_limit", sa.Integer(), nullable=True),
        sa.Column("retry_schedule", sa.ARRAY(sa.Integer()), nullable=True),
        sa.Column("disabled_at", moment, nullable=True),
        sa.Column("disabled_reason", text, nullable=True),
        sa.Column("deleted_at", moment, nullable=True),
        sa.Column("breaker", text, server_default="closed", nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failing_since", moment, nullable=True),
        sa.Column("openings", sa.Integer(), server_default="0", nullable=False),
        sa.Column("not_before", moment, nullable=True),
        sa.Column("paced_until", moment, nullable=True),
    ):
        op.add_column("endpoint", column)
    op.execute("ALTER TABLE endpoint SET (fillfactor = 70)")
    op.create_index(
        "ix_endpoint_ailing",
        "endpoint",
        ["id"],
        unique=False,
        postgresql_where=sa.text("breaker <> 'closed' OR disabled_reason IS NOT NULL"),
    )
    op.add_column("organisation", sa.Column("contact_email", text, nullable=True))


def _create_notice() -> None:
    text, moment = sqlmodel.sql.sqltypes.AutoString(), sqlmodel.sql.sqltypes.UTCDateTime()
    op.create_table(
        "notice",
        sa.Column("id", text, nullable=False),
        sa.Column("organisation_id", text, nullable=False),
        sa.Column("endpoint_id", text, nullable=False),
        sa.Column("type", text, nullable=False),
        sa.Column("test_mode", sa.Boolean(), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("payload", text, nullable=False),
        sa.Column("next_mail_at", moment, nullable=True),
        sa.Column("mail_attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("mailed_at", moment, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notice")),
    )
    op.create_index("ix_notice_organisation_id", "notice", ["organisation_id", "id"], unique=False)
    op.create_index(
        "ix_notice_mail",
        "notice",
        ["next_mail_at"],
        unique=False,
        postgresql_where=sa.text("next_mail_at IS NOT NULL"),
    )


def _index_what_is_due_by_endpoint() -> None:
    """Find what is due of each endpoint: one with a long backlog must not stand in front of the others."""
    op.drop_index("ix_delivery_due", table_name="delivery")
    op.create_index(
        "ix_delivery_due",
        "delivery",
        ["endpoint_id", "next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("state = 'open'"),
    )


def _own_events() -> None:
    """Say of every event whose it is."""
    op.add_column("payout_event", sa.Column("organisation_id", sqlmodel.sql.sqltypes.AutoString(), nullable=True))
    op.add_column("payout_event", sa.Column("test_mode", sa.Boolean(), nullable=True))
    op.execute(
        "UPDATE payout_event e SET organisation_id = p.organisation_id, test_mode = p.test_mode"
        " FROM payout p WHERE p.id = e.payout_id"
    )
    op.alter_column("payout_event", "organisation_id", nullable=False)
    op.alter_column("payout_event", "test_mode", nullable=False)
    op.create_index("ix_payout_event_owner", "payout_event", ["organisation_id", "test_mode", "id"], unique=False)


def _follow_deliveries() -> None:
    op.add_column("delivery", sa.Column("redelivery_of", sqlmodel.sql.sqltypes.AutoString(), nullable=True))
    op.add_column("delivery", sa.Column("recovery_id", sqlmodel.sql.sqltypes.AutoString(), nullable=True))
    op.drop_index("ix_delivery_payout", table_name="delivery")
    op.drop_index("ix_delivery_dead", table_name="delivery")
    op.create_index(
        "ix_delivery_dead", "delivery", ["endpoint_id", "id"], unique=False, postgresql_where=sa.text("state = 'dead'")
    )
    op.create_index("ix_delivery_endpoint", "delivery", ["endpoint_id", "id"], unique=False)
    op.create_index("ix_delivery_event", "delivery", ["event_id"], unique=False)


def _create_recovery() -> None:
    text, moment = sqlmodel.sql.sqltypes.AutoString(), sqlmodel.sql.sqltypes.UTCDateTime()
    is_running = sa.text("state = 'running'")
    op.create_table(
        "recovery",
        sa.Column("id", text, nullable=False),
        sa.Column("organisation_id", text, nullable=False),
        sa.Column("test_mode", sa.Boolean(), nullable=False),
        sa.Column("endpoint_id", text, nullable=False),
        sa.Column("since", moment, nullable=False),
        sa.Column("until", moment, nullable=False),
        sa.Column("state", text, server_default="running", nullable=False),
        sa.Column("reached", text, nullable=False),
        sa.Column("examined", sa.Integer(), server_default="0", nullable=False),
        sa.Column("owed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("pruned", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("next_step_at", moment, nullable=False),
        sa.Column("finished_at", moment, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recovery")),
    )
    op.create_index("uq_recovery_running", "recovery", ["endpoint_id"], unique=True, postgresql_where=is_running)
    op.create_index("ix_recovery_next_step", "recovery", ["next_step_at"], unique=False, postgresql_where=is_running)
    op.create_index("ix_recovery_organisation", "recovery", ["organisation_id", "id"], unique=False)


def _create_portal_link() -> None:
    text, moment = sqlmodel.sql.sqltypes.AutoString(), sqlmodel.sql.sqltypes.UTCDateTime()
    op.create_table(
        "portal_link",
        sa.Column("id", text, nullable=False),
        sa.Column("organisation_id", text, nullable=False),
        sa.Column("test_mode", sa.Boolean(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", text, nullable=True),
        sa.Column("made_by", text, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("expires_at", moment, nullable=False),
        sa.Column("opened_at", moment, nullable=True),
        sa.Column("visit_until", moment, nullable=True),
        sa.Column("ended_at", moment, nullable=True),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_portal_link_organisation_id_organisation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_portal_link")),
        sa.UniqueConstraint("digest", name=op.f("uq_portal_link_digest")),
    )
    op.create_index("ix_portal_link_organisation_id", "portal_link", ["organisation_id"], unique=False)


def downgrade() -> None:
    """Refuse: steps go forward only."""
    raise RuntimeError("there is no way down; restore a backup instead")
