"""The tables of the book. `seq` is the order in which things came about; amounts are whole cents."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS payments (
    seq INTEGER PRIMARY KEY,
    payment_id TEXT NOT NULL UNIQUE,
    amount INTEGER NOT NULL CHECK (amount > 0),
    currency TEXT NOT NULL,
    status TEXT NOT NULL,
    method TEXT NOT NULL,
    description TEXT,
    return_url TEXT,
    metadata TEXT NOT NULL,
    client_secret TEXT NOT NULL,
    error_code TEXT,
    error_message TEXT,
    created REAL NOT NULL,
    settles_at REAL
) STRICT;
CREATE INDEX IF NOT EXISTS unsettled_payments ON payments (settles_at) WHERE settles_at IS NOT NULL;

CREATE TABLE IF NOT EXISTS refunds (
    seq INTEGER PRIMARY KEY,
    refund_id TEXT NOT NULL UNIQUE,
    payment_id TEXT NOT NULL REFERENCES payments (payment_id),
    amount INTEGER NOT NULL CHECK (amount > 0),
    currency TEXT NOT NULL,
    status TEXT NOT NULL,
    method TEXT NOT NULL,
    reason TEXT,
    metadata TEXT NOT NULL,
    error_code TEXT,
    error_message TEXT,
    created REAL NOT NULL,
    settles_at REAL
) STRICT;
CREATE INDEX IF NOT EXISTS refunds_of_payment ON refunds (payment_id);
CREATE INDEX IF NOT EXISTS unsettled_refunds ON refunds (settles_at) WHERE settles_at IS NOT NULL;

CREATE TABLE IF NOT EXISTS disputes (
    seq INTEGER PRIMARY KEY,
    dispute_id TEXT NOT NULL UNIQUE,
    payment_id TEXT NOT NULL REFERENCES payments (payment_id),
    amount INTEGER NOT NULL CHECK (amount > 0),
    currency TEXT NOT NULL,
    status TEXT NOT NULL,
    created REAL NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS disputes_of_payment ON disputes (payment_id);

CREATE TABLE IF NOT EXISTS accounts (
    seq INTEGER PRIMARY KEY,
    account_id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    email TEXT,
    country TEXT NOT NULL,
    metadata TEXT NOT NULL,
    onboarded INTEGER NOT NULL DEFAULT 0,
    created REAL NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS account_links (
    token TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (account_id),
    return_url TEXT NOT NULL,
    refresh_url TEXT NOT NULL,
    expires_at REAL NOT NULL,
    used INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE IF NOT EXISTS transfers (
    seq INTEGER PRIMARY KEY,
    transfer_id TEXT NOT NULL UNIQUE,
    amount INTEGER NOT NULL CHECK (amount > 0),
    amount_reversed INTEGER NOT NULL DEFAULT 0 CHECK (amount_reversed BETWEEN 0 AND amount),
    currency TEXT NOT NULL,
    destination TEXT NOT NULL REFERENCES accounts (account_id),
    transfer_group TEXT,
    description TEXT,
    metadata TEXT NOT NULL,
    created REAL NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS transfers_of_group ON transfers (transfer_group);
CREATE INDEX IF NOT EXISTS transfers_to ON transfers (destination);

CREATE TABLE IF NOT EXISTS reversals (
    seq INTEGER PRIMARY KEY,
    reversal_id TEXT NOT NULL UNIQUE,
    transfer_id TEXT NOT NULL REFERENCES transfers (transfer_id),
    amount INTEGER NOT NULL CHECK (amount > 0),
    currency TEXT NOT NULL,
    metadata TEXT NOT NULL,
    created REAL NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS reversals_of_transfer ON reversals (transfer_id);

CREATE TABLE IF NOT EXISTS payouts (
    seq INTEGER PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (account_id),
    amount INTEGER NOT NULL CHECK (amount > 0),
    currency TEXT NOT NULL,
    created REAL NOT NULL
) STRICT;

-- The platform's own are those of the owner ''.
CREATE TABLE IF NOT EXISTS balances (
    owner TEXT NOT NULL,
    currency TEXT NOT NULL,
    cents INTEGER NOT NULL,
    PRIMARY KEY (owner, currency)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS idempotency_keys (
    key TEXT PRIMARY KEY,
    fingerprint BLOB NOT NULL,
    status INTEGER NOT NULL,
    body BLOB NOT NULL,
    at REAL NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS faults (
    seq INTEGER PRIMARY KEY,
    operation TEXT NOT NULL,
    kind TEXT NOT NULL,
    times INTEGER,
    seconds REAL
) STRICT;

-- state: 0 to be delivered, 1 delivered, 2 given up. One with `forced` waits neither for a hold nor for its turn.
CREATE TABLE IF NOT EXISTS outbox (
    seq INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL,
    about TEXT NOT NULL,
    body BLOB NOT NULL,
    created REAL NOT NULL,
    due REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    state INTEGER NOT NULL DEFAULT 0,
    forced INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS outbox_due ON outbox (due) WHERE state = 0;
CREATE INDEX IF NOT EXISTS outbox_turn ON outbox (about, seq) WHERE state = 0;

CREATE TABLE IF NOT EXISTS settings (
    name TEXT PRIMARY KEY,
    value REAL NOT NULL
) STRICT;
"""
