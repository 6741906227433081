-- name: load
-- The views of these records as last seen.
SELECT id, version, view::text AS view FROM snapshots WHERE tenant = $1 AND entity = $2 AND id = ANY($3::bigint[]);

-- name: save
-- What these records look like now.
INSERT INTO snapshots (tenant, entity, id, version, view, observed_at)
SELECT $1, $2, id, version, view::jsonb, $3
FROM unnest($4::bigint[], $5::bigint[], $6::text[]) AS given (id, version, view)
ON CONFLICT (tenant, entity, id) DO UPDATE SET
    version = excluded.version, view = excluded.view, observed_at = excluded.observed_at;

-- name: pass_of
-- Where the pass over an entity stands, or how the last one ended.
SELECT started_at, changed_since, after, completed_at, fields FROM passes WHERE tenant = $1 AND entity = $2;

-- name: begin_pass
-- A new pass, from the beginning.
INSERT INTO passes (tenant, entity, started_at, changed_since, after, completed_at, fields)
VALUES ($1, $2, $3, $4, 0, NULL, '{}')
ON CONFLICT (tenant, entity) DO UPDATE SET
    started_at = excluded.started_at, changed_since = excluded.changed_since, after = 0, completed_at = NULL;

-- name: advance_pass
-- Everything up to this id has been seen.
UPDATE passes SET after = $3 WHERE tenant = $1 AND entity = $2;

-- name: complete_pass
-- All has been seen: from now on differences in these fields are told.
UPDATE passes SET completed_at = $3, fields = $4::text[] WHERE tenant = $1 AND entity = $2;
