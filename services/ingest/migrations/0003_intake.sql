-- CloudEvents already taken, so that a repetition is answered as one.
CREATE TABLE pushed (
    tenant text NOT NULL,
    source text NOT NULL,
    id text NOT NULL,
    taken_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, source, id)
);
CREATE INDEX pushed_by_age ON pushed (taken_at);
-- How far the WhatsApp webhook has been whole (wholeness.py); machine time.
CREATE TABLE wholeness (
    tenant text NOT NULL,
    account text NOT NULL,
    since timestamptz NOT NULL,
    until timestamptz NOT NULL,
    gap_since timestamptz,
    gap_until timestamptz,
    PRIMARY KEY (tenant, account)
);
