"""API keys and what idempotency remembers."""

import sqlalchemy as sa
import sqlmodel
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make room for keys, for remembered answers, and for what the partners' API reads."""
    op.create_table(
        "api_key",
        sa.Column("id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("organisation_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("test_mode", sa.Boolean(), nullable=False),
        sa.Column("name", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("last_four", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("scopes", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.Column("expires_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=True),
        sa.Column("revoked_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=True),
        sa.Column("last_used_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_api_key_organisation_id_organisation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_key_digest")),
    )
    op.create_index(op.f("ix_api_key_organisation_id"), "api_key", ["organisation_id"], unique=False)
    op.create_table(
        "remembered_answer",
        sa.Column("organisation_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("test_mode", sa.Boolean(), nullable=False),
        sa.Column("key", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("payout_id", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("created_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("organisation_id", "test_mode", "key", name=op.f("pk_remembered_answer")),
    )
    op.create_index(op.f("ix_remembered_answer_created_at"), "remembered_answer", ["created_at"], unique=False)
    op.add_column("payout", sa.Column("partner_reference", sqlmodel.sql.sqltypes.AutoString(), nullable=True))
    op.add_column("payout", sa.Column("partner_metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column("payout", sa.Column("mode", sqlmodel.sql.sqltypes.AutoString(), nullable=True))
    op.add_column("payout", sa.Column("destination_label", sqlmodel.sql.sqltypes.AutoString(), nullable=True))
    op.add_column("payout", sa.Column("scheduled_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=True))
    op.add_column("payout", sa.Column("costs", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    random = sa.text("replace((gen_random_uuid())::text, '-'::text, ''::text)")  # 122 bits
    column = sa.Column("tracking_token", sqlmodel.sql.sqltypes.AutoString(), server_default=random, nullable=False)
    op.add_column("payout", column)
    op.create_unique_constraint(op.f("uq_payout_tracking_token"), "payout", ["tracking_token"])
    op.create_index(
        "ix_payout_partner_reference",
        "payout",
        ["organisation_id", "partner_reference"],
        unique=False,
        postgresql_where=sa.text("partner_reference IS NOT NULL"),
    )
    op.add_column("integration", sa.Column("currencies", sa.ARRAY(sa.Text()), nullable=True))
    op.add_column("integration", sa.Column("test_mode", sa.Boolean(), server_default="false", nullable=False))
    # A partner's list: its own, of its key's mode, newest first.
    op.create_index("ix_payout_listed", "payout", ["organisation_id", "test_mode", "id"], unique=False)
    op.drop_index("ix_payout_organisation_id", table_name="payout")


def downgrade() -> None:
    """Refuse: steps go forward only."""
    raise RuntimeError("there is no way down; restore a backup instead")
