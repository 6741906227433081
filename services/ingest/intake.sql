-- name: already_pushed
-- Which of these CloudEvents were taken before.
SELECT pushed.source, pushed.id FROM pushed
JOIN unnest($2::text[], $3::text[]) AS given (source, id) USING (source, id)
WHERE pushed.tenant = $1;

-- name: remember_pushed
-- These are taken; gives those that were not before.
INSERT INTO pushed (tenant, source, id, taken_at)
SELECT $1, source, id, $4 FROM unnest($2::text[], $3::text[]) AS given (source, id)
ON CONFLICT DO NOTHING
RETURNING source, id;

-- name: forget_pushed
-- The oldest of those that nobody will repeat any more, some at a time.
DELETE FROM pushed WHERE ctid IN (SELECT ctid FROM pushed WHERE taken_at < $1 ORDER BY taken_at LIMIT 1000);
