-- name: load
-- How far the webhook of an account has been whole; locked, so that replicas take turns.
SELECT since, until, gap_since, gap_until FROM wholeness WHERE tenant = $1 AND account = $2 FOR UPDATE;

-- name: save
-- The same, after a heartbeat.
INSERT INTO wholeness (tenant, account, since, until, gap_since, gap_until) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (tenant, account) DO UPDATE SET
    since = excluded.since,
    until = excluded.until,
    gap_since = excluded.gap_since,
    gap_until = excluded.gap_until;
