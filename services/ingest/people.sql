-- name: at_addresses
-- Everyone reached at one of these BSUIDs or numbers, those of these ids, and who shares the number of somebody with
-- one of these BSUIDs.
SELECT state::text AS state FROM people
WHERE tenant = $1 AND (
    bsuid = ANY($2::text[]) OR phone_key = ANY($2::text[]) OR person_id = ANY($3::text[])
    OR phone_key = ANY(ARRAY(SELECT phone_key FROM people WHERE tenant = $1 AND bsuid = ANY($2::text[])))
);

-- name: take_at_addresses
-- The same, held until the transaction ends: whoever else would change them waits, and sees the change.
SELECT state::text AS state FROM people
WHERE tenant = $1 AND (
    bsuid = ANY($2::text[]) OR phone_key = ANY($2::text[]) OR person_id = ANY($3::text[])
    OR phone_key = ANY(ARRAY(SELECT phone_key FROM people WHERE tenant = $1 AND bsuid = ANY($2::text[])))
)
ORDER BY person_id
FOR UPDATE;

-- name: save
-- The new state of each, in the order given; an older version never overwrites a newer one.
INSERT INTO people (tenant, person_id, contact_id, bsuid, phone_key, version, state)
SELECT $1, person_id, contact_id, bsuid, phone_key, version, state::jsonb
FROM unnest($2::text[], $3::bigint[], $4::text[], $5::text[], $6::bigint[], $7::text[])
    AS given (person_id, contact_id, bsuid, phone_key, version, state)
ON CONFLICT (tenant, person_id) DO UPDATE SET
    contact_id = excluded.contact_id,
    bsuid = excluded.bsuid,
    phone_key = excluded.phone_key,
    version = excluded.version,
    state = excluded.state
WHERE people.version < excluded.version;
