-- The facts that decisions were made from, kept for a while so that they can be made again.

-- name: save_facts
-- Facts by digest; one that is known is marked as read once a day.
insert into recorded_facts (digest, document, person_id, read_on)
select digest, document, person_id, $4 from unnest($1::text[], $2::bytea[], $3::text[]) as t(digest, document, person_id)
on conflict (digest) do update set read_on = excluded.read_on where recorded_facts.read_on < excluded.read_on;

-- name: save_inputs
-- The inputs of decisions.
insert into decision_inputs (tenant, about, decided_at, person_id, recorded_at, document)
select $1, about, decided_at, person_id, $6, document
from unnest($2::text[], $3::timestamptz[], $4::text[], $5::bytea[]) as t(about, decided_at, person_id, document)
on conflict (tenant, about, decided_at) do nothing;

-- name: erase_facts
-- Delete what is kept of erased people: their own facts, and the decisions on what they wrote.
delete from recorded_facts where person_id = any($1::text[]);

-- name: erase_inputs
delete from decision_inputs where person_id = any($1::text[]);

-- name: delete_old_facts
-- At most $2 facts that no decision has read since the day of $1 (UTC); returns how many.
with gone as (
    delete from recorded_facts where digest in (
        select digest from recorded_facts where read_on < ($1::timestamptz at time zone 'UTC')::date limit $2
    ) returning 1
)
select count(*) from gone;

-- name: delete_old_inputs
-- At most $2 inputs of decisions recorded before $1; returns how many.
with gone as (
    delete from decision_inputs where (tenant, about, decided_at) in (
        select tenant, about, decided_at from decision_inputs where recorded_at < $1 limit $2
    ) returning 1
)
select count(*) from gone;
