"""The spine: every table, and the status law as the database enforces it."""

import sqlalchemy as sa
import sqlmodel
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

AT_OR_ABOVE = {
    "pending": "pending scheduled initiated broadcast delivered canceled failed returned",
    "scheduled": "scheduled initiated broadcast delivered canceled failed returned",
    "initiated": "initiated broadcast delivered failed returned",
    "broadcast": "broadcast delivered failed returned",
    "delivered": "delivered returned",
    "canceled": "canceled failed returned",
    "failed": "failed returned",
    "returned": "returned",
}


def upgrade() -> None:
    """Create everything."""
    op.create_table(
        "attempt",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("delivery_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("started_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("outcome", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("status_code", sa.Integer(), nullable=True),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.Column("error", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempt")),
    )
    op.create_index("ix_attempt_delivery", "attempt", ["delivery_id", "id"], unique=False)
    op.create_table(
        "delivery",
        sa.Column("id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("endpoint_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("payout_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("event_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("state", sqlmodel.sql.sqltypes.AutoString(), server_default="open", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.Column("next_attempt_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.Column("leased_until", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=True),
        sa.Column("closed_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=True),
        sa.CheckConstraint("(state = 'open') = (closed_at IS NULL)", name=op.f("ck_delivery_open_until_closed")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index(
        "ix_delivery_due", "delivery", ["next_attempt_at"], unique=False, postgresql_where=sa.text("state = 'open'")
    )
    op.create_index("ix_delivery_dead", "delivery", ["id"], unique=False, postgresql_where=sa.text("state = 'dead'"))
    op.create_index("ix_delivery_payout", "delivery", ["payout_id"], unique=False)
    op.create_index(
        "ix_delivery_open",
        "delivery",
        ["endpoint_id", "payout_id", "sequence"],
        unique=False,
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_table(
        "inbox_event",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("integration_id", sa.Integer(), nullable=False),
        sa.Column("event_key", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("body_digest", sa.LargeBinary(), nullable=False),
        sa.Column("headers", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.Column("state", sqlmodel.sql.sqltypes.AutoString(), server_default="new", nullable=False),
        sa.Column("applied_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=True),
        sa.Column("swept_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=True),
        sa.Column("detail", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("reference", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("order_key", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inbox_event")),
        sa.UniqueConstraint(
            "integration_id",
            "event_key",
            "body_digest",
            name=op.f("uq_inbox_event_integration_id_event_key_body_digest"),
        ),
        postgresql_with={"fillfactor": "85"},
    )
    op.create_index(
        "ix_inbox_event_for_people",
        "inbox_event",
        ["id"],
        unique=False,
        postgresql_where=sa.text("state IN ('unmatched', 'unreadable', 'conflict', 'poison')"),
    )
    op.create_index(
        "ix_inbox_event_new", "inbox_event", ["id"], unique=False, postgresql_where=sa.text("state = 'new'")
    )
    op.create_index(
        "ix_inbox_event_unmatched",
        "inbox_event",
        ["integration_id", "reference"],
        unique=False,
        postgresql_where=sa.text("state = 'unmatched'"),
    )
    op.create_table(
        "integration",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("slug", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("connector", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("base_url", sa.Text(), nullable=True),
        sa.Column("options", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("has_webhook_secret", sa.Boolean(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("payouts_enabled", sa.Boolean(), nullable=False),
        sa.Column("polls_paused_until", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=True),
        sa.Column("created_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.Column("updated_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_integration")),
        sa.UniqueConstraint("slug", name=op.f("uq_integration_slug")),
    )
    op.create_table(
        "observation",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("payout_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("source", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("inbox_event_id", sa.BigInteger(), nullable=True),
        sa.Column("said", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("status", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("effect", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("occurred_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=True),
        sa.Column("recorded_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.Column("note", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_observation")),
    )
    op.create_index("ix_observation_payout", "observation", ["payout_id", "id"], unique=False)
    op.create_table(
        "operator",
        sa.Column("name", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("password_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_operator")),
    )
    op.create_table(
        "organisation",
        sa.Column("id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("name", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("created_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organisation")),
        sa.UniqueConstraint("name", name=op.f("uq_organisation_name")),
    )
    op.create_table(
        "payout_event",
        sa.Column("id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("payout_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("previous_status", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("status", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("source", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("occurred_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=True),
        sa.Column("created_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.Column("payload", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payout_event")),
        sa.UniqueConstraint("payout_id", "sequence", name=op.f("uq_payout_event_payout_id_sequence")),
    )
    op.create_table(
        "endpoint",
        sa.Column("id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("organisation_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("url", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("event_types", sa.ARRAY(sa.Text()), nullable=True),
        sa.Column("description", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("is_enabled", sa.Boolean(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.Column("updated_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_endpoint_organisation_id_organisation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_endpoint")),
    )
    op.create_index(op.f("ix_endpoint_organisation_id"), "endpoint", ["organisation_id"], unique=False)
    op.create_table(
        "payout",
        sa.Column("id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("organisation_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("integration_id", sa.Integer(), nullable=False),
        sa.Column("order_key", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("gateway_reference", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("description", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("details", sa.LargeBinary(), nullable=True),
        sa.Column("test_mode", sa.Boolean(), nullable=False),
        sa.Column("status", sqlmodel.sql.sqltypes.AutoString(), server_default="pending", nullable=False),
        sa.Column("epoch", sa.Integer(), server_default="1", nullable=False),
        sa.Column("submission", sqlmodel.sql.sqltypes.AutoString(), server_default="unsent", nullable=False),
        sa.Column("submitted_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=True),
        sa.Column("is_disputed", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("dispute", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("processed_amount_minor", sa.BigInteger(), nullable=True),
        sa.Column("failure_code", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("failure_message", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("estimated_delivery_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=True),
        sa.Column("sequence", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.Column("advanced_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.Column("occurred_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=True),
        sa.Column("last_evidence_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=True),
        sa.Column("last_evidence_source", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("polls", sa.Integer(), server_default="0", nullable=False),
        sa.Column("poll_step", sa.Integer(), server_default="0", nullable=False),
        sa.Column("poll_failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("poll_failure", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("next_poll_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=True),
        sa.CheckConstraint(
            "next_poll_at IS NOT NULL OR status NOT IN ('broadcast', 'initiated', 'pending', 'scheduled')",
            name=op.f("ck_payout_in_flight_has_a_next_poll"),
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'scheduled', 'initiated', 'broadcast',"
            " 'delivered', 'canceled', 'failed', 'returned')",
            name=op.f("ck_payout_status_known"),
        ),
        sa.CheckConstraint("amount_minor >= 0", name=op.f("ck_payout_amount_not_negative")),
        sa.ForeignKeyConstraint(
            ["integration_id"], ["integration.id"], name=op.f("fk_payout_integration_id_integration")
        ),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_payout_organisation_id_organisation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payout")),
        sa.UniqueConstraint(
            "integration_id", "gateway_reference", name=op.f("uq_payout_integration_id_gateway_reference")
        ),
        sa.UniqueConstraint("integration_id", "order_key", name=op.f("uq_payout_integration_id_order_key")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index(
        "ix_payout_due",
        "payout",
        ["integration_id", "next_poll_at"],
        unique=False,
        postgresql_where=sa.text("next_poll_at IS NOT NULL"),
    )
    op.create_index(
        "ix_payout_in_flight",
        "payout",
        ["advanced_at"],
        unique=False,
        postgresql_where=sa.text("status IN ('broadcast', 'initiated', 'pending', 'scheduled')"),
    )
    op.create_index("ix_payout_disputed", "payout", ["id"], unique=False, postgresql_where=sa.text("is_disputed"))
    op.create_index(
        "ix_payout_unconfirmed",
        "payout",
        ["id"],
        unique=False,
        postgresql_where=sa.text("submission IN ('sending', 'unknown', 'not_received')"),
    )
    op.create_index(op.f("ix_payout_organisation_id"), "payout", ["organisation_id"], unique=False)
    _enforce_the_status_law()


def _enforce_the_status_law() -> None:
    """Let no path write a status but upwards: application, console or a hurried UPDATE at night alike.

    The pairs are written out, not imported, because a migration must not change when the code does;
    tests/models/test_status_law.py proves that they agree with models/lifecycle.py.
    """
    cases = " ".join(f"WHEN '{status}' THEN '{{{aboves.replace(' ', ',')}}}'" for status, aboves in AT_OR_ABOVE.items())
    op.execute(
        f"""
        CREATE FUNCTION payout_status_law() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'INSERT' THEN
                IF NEW.status <> 'pending' OR NEW.epoch <> 1 THEN
                    RAISE EXCEPTION 'a payout is born pending in epoch 1, not % in %', NEW.status, NEW.epoch
                        USING ERRCODE = 'check_violation';
                END IF;
                RETURN NEW;
            END IF;
            IF NEW.epoch = OLD.epoch + 1 THEN
                RETURN NEW;  -- a person's decision opens a new epoch
            END IF;
            IF NEW.epoch <> OLD.epoch OR NEW.status <> ALL ((CASE OLD.status {cases} END)::text[]) THEN
                RAISE EXCEPTION 'payout % cannot go from % (epoch %) to % (epoch %)',
                    OLD.id, OLD.status, OLD.epoch, NEW.status, NEW.epoch
                    USING ERRCODE = 'check_violation',
                        HINT = 'A status is joined, never assigned: send the evidence through payouts.observe.';
            END IF;
            RETURN NEW;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER payout_status_law_insert BEFORE INSERT ON payout"
        " FOR EACH ROW EXECUTE FUNCTION payout_status_law()"
    )
    op.execute(
        "CREATE TRIGGER payout_status_law_update BEFORE UPDATE ON payout FOR EACH ROW"
        " WHEN (OLD.status IS DISTINCT FROM NEW.status OR OLD.epoch IS DISTINCT FROM NEW.epoch)"
        " EXECUTE FUNCTION payout_status_law()"
    )


def downgrade() -> None:
    """Refuse: this is the first revision, and dropping every table is not a step back but a loss."""
    raise RuntimeError("there is nothing before the spine; restore a backup instead")
