"""The ledger; refunds and disputes; sellers' accounts and transfers to them; the webhook inbox; invoices; jobs."""

from tortoise import migrations
from tortoise.migrations import operations as ops

LEDGER = [
    # What happened at once. A reference has one movement of a kind at most, so that booking twice is impossible.
    """CREATE TABLE ledger_movements (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        kind text NOT NULL,
        reference uuid NOT NULL,
        currency text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT ledger_movements_kind_check CHECK (kind IN ('payment', 'sale', 'give_back', 'refund_owed',
            'refund_paid', 'refund_failed', 'transfer', 'reversal', 'dispute', 'dispute_won', 'dispute_moved')),
        CONSTRAINT ledger_movements_currency_check CHECK (currency ~ '^[A-Z]{3}$')
    )""",
    "CREATE UNIQUE INDEX ledger_movements_once ON ledger_movements (reference, kind)",
    # Debits are positive.
    """CREATE TABLE ledger_entries (
        movement_id bigint NOT NULL REFERENCES ledger_movements (id),
        position smallint NOT NULL,
        account text NOT NULL,
        seller_id uuid REFERENCES users (id),
        currency text NOT NULL,
        amount_cents bigint NOT NULL,
        PRIMARY KEY (movement_id, position),
        CONSTRAINT ledger_entries_account_check CHECK (account IN
            ('buyer_clearing', 'platform_fee', 'seller_payable', 'provider', 'refunds')),
        CONSTRAINT ledger_entries_seller_check CHECK ((account = 'seller_payable') = (seller_id IS NOT NULL)),
        CONSTRAINT ledger_entries_amount_check CHECK (amount_cents <> 0)
    )""",
    """CREATE INDEX ledger_entries_seller ON ledger_entries (seller_id, currency, movement_id) INCLUDE (amount_cents)
        WHERE seller_id IS NOT NULL""",
    # What a seller's entries up to a movement sum to, so that those of years are not added up with each transfer.
    """CREATE TABLE ledger_closings (
        seller_id uuid NOT NULL REFERENCES users (id),
        currency text NOT NULL,
        movement_id bigint NOT NULL,
        cents bigint NOT NULL,
        PRIMARY KEY (seller_id, currency)
    )""",
    # A movement and all of its entries are one statement, and checked at its end: one that does not sum to zero, that
    # has no two entries, or another currency among them, cannot be.
    """CREATE FUNCTION refuse_unbalanced(moved bigint[]) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE
        wrong bigint;
    BEGIN
        SELECT m.id INTO wrong
        FROM unnest(moved) n (id) JOIN ledger_movements m ON m.id = n.id
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(e.amount_cents), 0) AS total, count(*) AS entries,
                   count(*) FILTER (WHERE e.currency <> m.currency) AS others
            FROM ledger_entries e WHERE e.movement_id = m.id) sums
        WHERE total <> 0 OR entries < 2 OR others > 0 LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'movement % is not balanced', wrong USING ERRCODE = 'integrity_constraint_violation';
        END IF;
    END $$""",
    """CREATE FUNCTION check_movements() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM refuse_unbalanced(ARRAY(SELECT id FROM made));
        RETURN NULL;
    END $$""",
    """CREATE FUNCTION check_entries() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM refuse_unbalanced(ARRAY(SELECT DISTINCT movement_id FROM made));
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER ledger_movements_balanced AFTER INSERT ON ledger_movements
        REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION check_movements()""",
    """CREATE TRIGGER ledger_entries_balanced AFTER INSERT ON ledger_entries
        REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION check_entries()""",
    """CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '% is only ever added to', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END $$""",
    """CREATE TRIGGER ledger_movements_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_movements
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()""",
    """CREATE TRIGGER ledger_entries_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entries
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()""",
]

RETURNS = [
    # `give_back` returns a payment that was never a sale; `next_at` is null once nothing is to be done.
    """CREATE TABLE refunds (
        id uuid PRIMARY KEY,
        order_id uuid NOT NULL REFERENCES orders (id),
        kind text NOT NULL,
        status text NOT NULL DEFAULT 'pending',
        amount_cents bigint NOT NULL,
        requested_by uuid REFERENCES users (id),
        reason text NOT NULL,
        details text,
        retry_count integer NOT NULL DEFAULT 0,
        next_at timestamptz DEFAULT now(),
        error text,
        created_at timestamptz NOT NULL DEFAULT now(),
        done_at timestamptz,
        CONSTRAINT refunds_kind_check CHECK (kind IN ('refund', 'give_back')),
        CONSTRAINT refunds_status_check CHECK (status IN ('pending', 'succeeded', 'failed')),
        CONSTRAINT refunds_open_check CHECK ((status = 'pending') = (done_at IS NULL)
            AND (status = 'pending') = (next_at IS NOT NULL)),
        CONSTRAINT refunds_amount_check CHECK (amount_cents > 0)
    ) WITH (fillfactor = 80)""",
    "CREATE INDEX refunds_order ON refunds (order_id, created_at, id)",
    "CREATE UNIQUE INDEX refunds_give_back ON refunds (order_id) WHERE kind = 'give_back' AND status <> 'failed'",
    "CREATE INDEX refunds_due ON refunds (next_at) WHERE status = 'pending'",
    # An item is refunded once: `active` until its refund fails.
    """CREATE TABLE refund_items (
        refund_id uuid NOT NULL REFERENCES refunds (id),
        item_id uuid NOT NULL REFERENCES order_items (id),
        active boolean NOT NULL DEFAULT true,
        PRIMARY KEY (refund_id, item_id)
    )""",
    "CREATE UNIQUE INDEX refund_items_once ON refund_items (item_id) WHERE active",
    """CREATE TABLE refund_shares (
        refund_id uuid NOT NULL REFERENCES refunds (id),
        seller_id uuid NOT NULL REFERENCES users (id),
        amount_cents bigint NOT NULL,
        fee_cents bigint NOT NULL,
        PRIMARY KEY (refund_id, seller_id),
        CONSTRAINT refund_shares_fee_check CHECK (fee_cents BETWEEN 0 AND amount_cents)
    )""",
    # What a buyer's bank took back. `reference` is the provider's name for it.
    """CREATE TABLE disputes (
        id uuid PRIMARY KEY,
        order_id uuid NOT NULL REFERENCES orders (id),
        reference text NOT NULL,
        status text NOT NULL,
        amount_cents bigint NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        closed_at timestamptz,
        CONSTRAINT disputes_status_check CHECK (status IN ('opened', 'won', 'lost')),
        CONSTRAINT disputes_amount_check CHECK (amount_cents > 0)
    )""",
    "CREATE UNIQUE INDEX disputes_reference ON disputes (reference)",
    "CREATE INDEX disputes_order ON disputes (order_id)",
    """CREATE TABLE dispute_shares (
        dispute_id uuid NOT NULL REFERENCES disputes (id),
        seller_id uuid NOT NULL REFERENCES users (id),
        amount_cents bigint NOT NULL,
        fee_cents bigint NOT NULL,
        PRIMARY KEY (dispute_id, seller_id),
        CONSTRAINT dispute_shares_fee_check CHECK (fee_cents BETWEEN 0 AND amount_cents)
    )""",
]

PAYOUTS = [
    # A seller's account at the provider; they can be paid once `payouts_enabled`. When they were last sent there to
    # say who they are is `onboarding_at`: the longer ago, the rarer the provider is asked.
    """CREATE TABLE seller_accounts (
        seller_id uuid PRIMARY KEY REFERENCES users (id),
        account_id text NOT NULL,
        details_submitted boolean NOT NULL DEFAULT false,
        payouts_enabled boolean NOT NULL DEFAULT false,
        created_at timestamptz NOT NULL DEFAULT now(),
        onboarding_at timestamptz NOT NULL DEFAULT now(),
        checked_at timestamptz NOT NULL DEFAULT now()
    )""",
    "CREATE UNIQUE INDEX seller_accounts_account ON seller_accounts (account_id)",
    "CREATE INDEX seller_accounts_waiting ON seller_accounts (checked_at) WHERE NOT payouts_enabled",
    # A seller's place in the queue: whoever has the lease, and nobody else, sends that seller's money.
    """CREATE TABLE payout_lanes (
        seller_id uuid PRIMARY KEY REFERENCES users (id),
        due_at timestamptz,
        lease_until timestamptz,
        leased_by text,
        lease bigint NOT NULL DEFAULT 0
    ) WITH (fillfactor = 50)""",
    "CREATE INDEX payout_lanes_due ON payout_lanes (due_at) WHERE due_at IS NOT NULL",
    "CREATE INDEX payout_lanes_leased ON payout_lanes (leased_by) WHERE leased_by IS NOT NULL",
    # A seller's share of an order on its way. `cause_id` is the order, or the refund or dispute that came to nothing
    # and is made good. Of `amount_cents`, `returned_cents` is not to be sent any more, and `noted_cents` neither but
    # may have been: it is under way. `sent_cents` is fixed with `sent_at`, for as long as nothing was heard of it.
    """CREATE TABLE transfers (
        id uuid PRIMARY KEY,
        order_id uuid NOT NULL REFERENCES orders (id),
        cause_id uuid NOT NULL,
        seller_id uuid NOT NULL REFERENCES users (id),
        currency text NOT NULL,
        amount_cents bigint NOT NULL,
        platform_fee_cents bigint NOT NULL,
        status text NOT NULL DEFAULT 'pending',
        returned_cents bigint NOT NULL DEFAULT 0,
        noted_cents bigint NOT NULL DEFAULT 0,
        sent_cents bigint,
        reversed_cents bigint NOT NULL DEFAULT 0,
        account_id text,
        provider_id text,
        number integer NOT NULL DEFAULT 1,
        sent_at timestamptz,
        answered boolean NOT NULL DEFAULT false,
        retry_count integer NOT NULL DEFAULT 0,
        next_retry_at timestamptz,
        lease bigint,
        error text,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        completed_at timestamptz,
        CONSTRAINT transfers_status_check CHECK (status IN
            ('pending', 'processing', 'completed', 'failed', 'dead', 'reversed')),
        CONSTRAINT transfers_amount_check CHECK (amount_cents > 0 AND platform_fee_cents >= 0),
        CONSTRAINT transfers_returned_check CHECK (
            returned_cents >= 0 AND noted_cents >= 0 AND returned_cents + noted_cents <= amount_cents),
        CONSTRAINT transfers_sent_check CHECK (sent_cents BETWEEN 0 AND amount_cents),
        CONSTRAINT transfers_reversed_check CHECK (
            reversed_cents >= 0 AND reversed_cents <= coalesce(sent_cents, 0)),
        CONSTRAINT transfers_under_way_check CHECK (sent_at IS NULL OR sent_cents IS NOT NULL AND account_id IS NOT NULL),
        CONSTRAINT transfers_completed_check CHECK (completed_at IS NULL OR sent_cents IS NOT NULL)
    ) WITH (fillfactor = 70)""",
    "CREATE UNIQUE INDEX transfers_once ON transfers (cause_id, seller_id)",
    "CREATE UNIQUE INDEX transfers_provider_id ON transfers (provider_id)",
    "CREATE INDEX transfers_order ON transfers (order_id)",
    "CREATE INDEX transfers_newest ON transfers (created_at DESC, id DESC)",
    "CREATE INDEX transfers_status ON transfers (status, created_at DESC, id DESC)",
    "CREATE INDEX transfers_seller ON transfers (seller_id, created_at DESC, id DESC)",
    """CREATE INDEX transfers_open ON transfers (seller_id, created_at, id)
        WHERE status IN ('pending', 'processing', 'failed', 'dead')""",
    # What is to be, was, or could not be taken back of a transfer. `refused` is the seller's debt.
    """CREATE TABLE reversals (
        id uuid PRIMARY KEY,
        transfer_id uuid NOT NULL REFERENCES transfers (id),
        seller_id uuid NOT NULL REFERENCES users (id),
        amount_cents bigint NOT NULL,
        status text NOT NULL DEFAULT 'pending',
        provider_id text,
        number integer NOT NULL DEFAULT 1,
        sent_at timestamptz,
        answered boolean NOT NULL DEFAULT false,
        retry_count integer NOT NULL DEFAULT 0,
        next_retry_at timestamptz,
        error text,
        created_at timestamptz NOT NULL DEFAULT now(),
        done_at timestamptz,
        CONSTRAINT reversals_status_check CHECK (status IN ('pending', 'completed', 'refused')),
        CONSTRAINT reversals_amount_check CHECK (amount_cents > 0),
        CONSTRAINT reversals_done_check CHECK ((status = 'pending') = (done_at IS NULL))
    ) WITH (fillfactor = 70)""",
    "CREATE INDEX reversals_transfer ON reversals (transfer_id)",
    "CREATE INDEX reversals_open ON reversals (seller_id, created_at, id) WHERE status = 'pending'",
    """CREATE FUNCTION refuse_illegal_transfer() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NOT (OLD.status || ' ' || NEW.status = ANY (ARRAY[
            'pending processing', 'pending reversed', 'processing pending', 'processing completed',
            'processing failed', 'processing dead', 'processing reversed', 'failed processing', 'failed pending',
            'failed reversed', 'dead pending', 'dead reversed', 'completed reversed'])) THEN
            RAISE EXCEPTION 'a transfer that is % does not become %', OLD.status, NEW.status
                USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END $$""",
    """CREATE TRIGGER transfers_legal BEFORE UPDATE OF status ON transfers FOR EACH ROW
        WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION refuse_illegal_transfer()""",
]

INBOX = [
    # Every webhook that was signed, once by its event. `waiting` is for a payment that is not known yet.
    """CREATE TABLE webhooks (
        id uuid PRIMARY KEY,
        event_id text NOT NULL,
        event text,
        payment_id text,
        body bytea NOT NULL,
        status text NOT NULL DEFAULT 'received',
        tries integer NOT NULL DEFAULT 0,
        next_at timestamptz DEFAULT now(),
        result text,
        received_at timestamptz NOT NULL DEFAULT now(),
        processed_at timestamptz,
        CONSTRAINT webhooks_status_check CHECK (status IN ('received', 'waiting', 'processed', 'ignored', 'failed')),
        CONSTRAINT webhooks_open_check CHECK ((status IN ('received', 'waiting')) = (next_at IS NOT NULL))
    ) WITH (fillfactor = 80)""",
    "CREATE UNIQUE INDEX webhooks_event_id ON webhooks (event_id)",
    "CREATE INDEX webhooks_due ON webhooks (next_at) WHERE status IN ('received', 'waiting')",
    "CREATE INDEX webhooks_newest ON webhooks (received_at DESC, id DESC)",
    "CREATE INDEX webhooks_status ON webhooks (status, received_at DESC, id DESC)",
]

INVOICES = [
    "CREATE TABLE invoice_numbers (year smallint PRIMARY KEY, last integer NOT NULL CHECK (last > 0))",
    # `content` is all that the document says, so that it never changes.
    """CREATE TABLE invoices (
        id uuid PRIMARY KEY,
        order_id uuid NOT NULL REFERENCES orders (id),
        refund_id uuid REFERENCES refunds (id),
        year smallint NOT NULL,
        number integer NOT NULL,
        content jsonb NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now()
    )""",
    "CREATE UNIQUE INDEX invoices_number ON invoices (year, number)",
    "CREATE UNIQUE INDEX invoices_of_order ON invoices (order_id) WHERE refund_id IS NULL",
    "CREATE UNIQUE INDEX invoices_of_refund ON invoices (refund_id)",
    "CREATE INDEX invoices_order ON invoices (order_id)",
    """CREATE TRIGGER invoices_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON invoices
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()""",
]

JOBS = [
    # How each of the jobs that run now and then fared the last time.
    """CREATE TABLE jobs (
        name text PRIMARY KEY,
        started_at timestamptz NOT NULL,
        finished_at timestamptz,
        succeeded_at timestamptz,
        runs bigint NOT NULL DEFAULT 1,
        failures bigint NOT NULL DEFAULT 0,
        done bigint NOT NULL DEFAULT 0,
        error text
    ) WITH (fillfactor = 50)""",
]


class Migration(migrations.Migration):
    dependencies = [("veza", "0008_marketplace")]

    operations = [ops.RunSQL(part) for part in (LEDGER, RETURNS, PAYOUTS, INBOX, INVOICES, JOBS)]
