"""Balances, their ledger, quotes, rates and fees."""

import sqlalchemy as sa
import sqlmodel
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables, and have the database keep the books: see docs/money.md."""
    _create_balance()
    _create_ledger()
    _create_prices()
    _create_quote()
    _widen_payout()
    _let_the_ledger_keep_the_totals()


def _create_balance() -> None:
    op.create_table(
        "balance",
        sa.Column("id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("organisation_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("test_mode", sa.Boolean(), nullable=False),
        sa.Column("currency", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("status", sqlmodel.sql.sqltypes.AutoString(), server_default="active", nullable=False),
        sa.Column("balance_minor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("held_minor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("reserve_minor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("overdraft_minor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("negative_threshold_minor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("queued_refunds", sa.Integer(), server_default="0", nullable=False),
        sa.Column("payouts_blocked", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("transfer_frequency", sqlmodel.sql.sqltypes.AutoString(), server_default="never", nullable=False),
        sa.Column("next_transfer_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=True),
        sa.Column("destination_integration_id", sa.Integer(), nullable=True),
        sa.Column("destination", sa.LargeBinary(), nullable=True),
        sa.Column("destination_label", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("created_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.CheckConstraint("status IN ('active', 'inactive')", name=op.f("ck_balance_status_known")),
        sa.CheckConstraint(
            "transfer_frequency IN ('never', 'daily', 'weekly', 'monthly')", name=op.f("ck_balance_frequency_known")
        ),
        sa.CheckConstraint(
            "balance_minor - held_minor - reserve_minor >= -overdraft_minor", name=op.f("ck_balance_not_overdrawn")
        ),
        sa.CheckConstraint("held_minor >= 0", name=op.f("ck_balance_held_not_negative")),
        sa.CheckConstraint("negative_threshold_minor >= 0", name=op.f("ck_balance_threshold_not_negative")),
        sa.CheckConstraint("overdraft_minor >= 0", name=op.f("ck_balance_overdraft_not_negative")),
        sa.CheckConstraint("queued_refunds >= 0", name=op.f("ck_balance_queued_refunds_not_negative")),
        sa.CheckConstraint("reserve_minor >= 0", name=op.f("ck_balance_reserve_not_negative")),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_balance_organisation_id_organisation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_balance")),
        sa.UniqueConstraint(
            "organisation_id",
            "test_mode",
            "currency",
            name=op.f("uq_balance_organisation_id_test_mode_currency"),
        ),
        postgresql_with={"fillfactor": "50"},
    )


def _create_ledger() -> None:
    op.create_table(
        "ledger_entry",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("transaction_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("balance_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("account", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("kind", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("payout_id", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("note", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("created_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.CheckConstraint(
            "account IN ('available', 'held', 'reserve', 'out', 'fees', 'funding', 'adjustments')",
            name=op.f("ck_ledger_entry_account_known"),
        ),
        sa.CheckConstraint(
            "kind IN ('credited', 'adjusted', 'charged', 'reserved', 'held', 'resumed', 'settled', 'released',"
            " 'returned')",
            name=op.f("ck_ledger_entry_kind_known"),
        ),
        sa.CheckConstraint("amount_minor <> 0", name=op.f("ck_ledger_entry_amount_not_zero")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_entry")),
    )
    op.create_index("ix_ledger_entry_balance", "ledger_entry", ["balance_id", "transaction_id"], unique=False)
    op.create_index(
        "ix_ledger_entry_payout",
        "ledger_entry",
        ["payout_id"],
        unique=False,
        postgresql_where=sa.text("payout_id IS NOT NULL"),
    )
    op.create_table(
        "books_check",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("checked_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.Column("violations", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("waiting", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_books_check_only_one")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_books_check")),
    )
    op.create_table(
        "books_base",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("proven_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.Column("up_to", sa.BigInteger(), nullable=False),
        sa.Column("sums", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("holders", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_books_base_only_one")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_books_base")),
    )


def _create_prices() -> None:
    op.create_table(
        "rate",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("source", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("target", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("rate", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("set_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.Column("set_by", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("expires_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=True),
        sa.CheckConstraint("rate > 0", name=op.f("ck_rate_rate_positive")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rate")),
    )
    op.create_index("ix_rate_newest", "rate", ["source", "target", "id"], unique=False)
    op.create_table(
        "fee",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("integration_id", sa.Integer(), nullable=False),
        sa.Column("asset", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("network", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("percent", sa.Numeric(precision=9, scale=6), nullable=False),
        sa.Column("fixed_minor", sa.BigInteger(), nullable=False),
        sa.Column("estimated_seconds", sa.Integer(), nullable=False),
        sa.Column("updated_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.CheckConstraint("estimated_seconds > 0", name=op.f("ck_fee_estimate_positive")),
        sa.CheckConstraint("fixed_minor >= 0", name=op.f("ck_fee_fixed_not_negative")),
        sa.CheckConstraint("percent >= 0 AND percent < 100", name=op.f("ck_fee_percent_sensible")),
        sa.ForeignKeyConstraint(["integration_id"], ["integration.id"], name=op.f("fk_fee_integration_id_integration")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fee")),
        sa.UniqueConstraint("integration_id", "asset", "network", name=op.f("uq_fee_integration_id_asset_network")),
    )


def _create_quote() -> None:
    op.create_table(
        "quote",
        sa.Column("id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("organisation_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("test_mode", sa.Boolean(), nullable=False),
        sa.Column("asset", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("send_minor", sa.BigInteger(), nullable=False),
        sa.Column("fee_minor", sa.BigInteger(), nullable=False),
        sa.Column("fees", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("currency", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("get_minor", sa.BigInteger(), nullable=False),
        sa.Column("rate", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("integration_id", sa.Integer(), nullable=False),
        sa.Column("network", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("estimated_seconds", sa.Integer(), nullable=False),
        sa.Column("details", sa.LargeBinary(), nullable=False),
        sa.Column("mode", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("destination_label", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("created_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.Column("expires_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.Column("used_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=True),
        sa.Column("payout_id", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.CheckConstraint("(used_at IS NULL) = (payout_id IS NULL)", name=op.f("ck_quote_used_by_a_payout")),
        sa.CheckConstraint(
            "send_minor > 0 AND get_minor > 0 AND fee_minor >= 0", name=op.f("ck_quote_amounts_positive")
        ),
        sa.ForeignKeyConstraint(
            ["integration_id"], ["integration.id"], name=op.f("fk_quote_integration_id_integration")
        ),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_quote_organisation_id_organisation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quote")),
    )
    op.create_index("ix_quote_expires_at", "quote", ["expires_at"], unique=False)


def _widen_payout() -> None:
    op.add_column("payout", sa.Column("balance_id", sqlmodel.sql.sqltypes.AutoString(), nullable=True))
    op.add_column("payout", sa.Column("debit_minor", sa.BigInteger(), nullable=True))
    op.add_column("payout", sa.Column("fee_minor", sa.BigInteger(), nullable=True))
    op.add_column("payout", sa.Column("quote_id", sqlmodel.sql.sqltypes.AutoString(), nullable=True))
    op.add_column("payout", sa.Column("route_seconds", sa.Integer(), nullable=True))
    op.add_column("payout", sa.Column("business_day", sa.Date(), nullable=True))
    op.create_check_constraint(
        op.f("ck_payout_debit_from_a_balance"),
        "payout",
        "(balance_id IS NULL) = (debit_minor IS NULL) AND (balance_id IS NULL) = (fee_minor IS NULL)",
    )
    op.create_check_constraint(
        op.f("ck_payout_debit_covers_the_fee"), "payout", "fee_minor >= 0 AND debit_minor >= fee_minor"
    )
    op.create_index(
        "uq_payout_balance_day",
        "payout",
        ["balance_id", "business_day"],
        unique=True,
        postgresql_where=sa.text("business_day IS NOT NULL AND status IN ('pending', 'scheduled')"),
    )


def _let_the_ledger_keep_the_totals() -> None:
    """Let no path write half a transaction, a total of its own, or a hold that is not covered.

    The words are written out, not imported, because a migration must not change when the code does;
    tests/models/test_ledger_law.py proves that they agree with models/balance.py.
    """
    op.execute(
        "CREATE TRIGGER only_ever_added BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entry"
        " FOR EACH STATEMENT EXECUTE FUNCTION only_ever_added()"
    )
    op.execute(
        """
        CREATE FUNCTION ledger_law() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE
            odd text;
            found_balances int;
        BEGIN
            SELECT transaction_id INTO odd FROM added GROUP BY transaction_id, balance_id HAVING sum(amount_minor) <> 0
            LIMIT 1;
            IF FOUND THEN
                RAISE EXCEPTION 'the lines of % do not sum to zero', odd USING ERRCODE = 'check_violation',
                    HINT = 'All lines of a transaction are added by one statement.';
            END IF;
            UPDATE balance b
            SET balance_minor = b.balance_minor + d.own,
                held_minor = b.held_minor + d.held,
                reserve_minor = b.reserve_minor + d.reserve,
                overdraft_minor = CASE WHEN d.strict THEN 0 ELSE
                    greatest(0, b.held_minor + b.reserve_minor - b.balance_minor - d.available) END
            FROM (
                SELECT balance_id,
                    coalesce(sum(amount_minor) FILTER (WHERE account IN ('available', 'held', 'reserve')), 0) AS own,
                    coalesce(sum(amount_minor) FILTER (WHERE account = 'available'), 0) AS available,
                    coalesce(sum(amount_minor) FILTER (WHERE account = 'held'), 0) AS held,
                    coalesce(sum(amount_minor) FILTER (WHERE account = 'reserve'), 0) AS reserve,
                    -- Freeing a reserve takes nothing, so it may be done below zero.
                    bool_or(kind IN ('held', 'reserved') AND account = 'available' AND amount_minor < 0) AS strict
                FROM added GROUP BY balance_id
            ) d
            WHERE b.id = d.balance_id;
            GET DIAGNOSTICS found_balances = ROW_COUNT;
            IF found_balances <> (SELECT count(DISTINCT balance_id) FROM added) THEN
                RAISE EXCEPTION 'an entry names a balance that does not exist' USING ERRCODE = 'foreign_key_violation';
            END IF;
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER ledger_law AFTER INSERT ON ledger_entry REFERENCING NEW TABLE AS added"
        " FOR EACH STATEMENT EXECUTE FUNCTION ledger_law()"
    )
    op.execute(
        """
        CREATE FUNCTION totals_come_from_entries() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF pg_trigger_depth() < 2 THEN
                RAISE EXCEPTION 'the totals of balance % are sums of ledger entries', NEW.id
                    USING ERRCODE = 'check_violation', HINT = 'Add entries; the totals follow by themselves.';
            END IF;
            RETURN NEW;
        END $$
        """
    )
    totals = ("balance_minor", "held_minor", "reserve_minor", "overdraft_minor")
    op.execute(
        "CREATE TRIGGER totals_begin_at_zero BEFORE INSERT ON balance FOR EACH ROW"
        f" WHEN ({' OR '.join(f'NEW.{total} <> 0' for total in totals)})"
        " EXECUTE FUNCTION totals_come_from_entries()"
    )
    op.execute(
        "CREATE TRIGGER totals_come_from_entries BEFORE UPDATE ON balance FOR EACH ROW"
        f" WHEN ({' OR '.join(f'NEW.{total} <> OLD.{total}' for total in totals)})"
        " EXECUTE FUNCTION totals_come_from_entries()"
    )


def downgrade() -> None:
    """Refuse: steps go forward only."""
    raise RuntimeError("there is no way down; restore a backup instead")
