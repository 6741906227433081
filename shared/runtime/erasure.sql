-- Erasures of people in one service's schema.

-- name: begin_erasure
-- A person is to be erased; one whose erasure is under way keeps its passes, one that was complete begins again
-- where the person is known again.
insert into erasures (tenant, person_id, requested_at, words, next_at) values ($1, $2, $3, $4, $3)
on conflict (tenant, person_id) do update set
    words = array(select distinct unnest(erasures.words || excluded.words)),
    requested_at = case when erasures.next_at is null then excluded.requested_at else erasures.requested_at end,
    passes = case when erasures.next_at is null then 0 else erasures.passes end,
    next_at = excluded.next_at,
    completed_at = null
where erasures.next_at is not null or cardinality(excluded.words) > 0;

-- name: claim_passes
-- Erasures of which a pass is due, the oldest first. Another replica takes one over where this one ends meanwhile.
update erasures e set next_at = $2
from (
    select tenant, person_id from erasures where next_at <= $1 order by next_at limit $3 for update skip locked
) as due
where e.tenant = due.tenant and e.person_id = due.person_id
returning e.tenant, e.person_id, e.requested_at, e.words, e.passes;

-- name: end_pass
-- A pass is over; the words are kept for as long as there is a next one.
update erasures set
    passes = passes + 1,
    next_at = $3,
    left_over = $4::jsonb,
    words = case when $3::timestamptz is null then '{}' else words end,
    completed_at = case when $3::timestamptz is null then $5::timestamptz end
where tenant = $1 and person_id = $2 and passes = $6;

-- name: open_erasures
-- How many erasures are not complete, and since when the oldest was asked for.
select count(*) as open, min(requested_at) as oldest from erasures where next_at is not null;

-- name: delete_old_erasures
-- At most $2 erasures that were completed before $1: nothing of the person can be on its way any more.
delete from erasures where (tenant, person_id) in (
    select tenant, person_id from erasures where completed_at < $1 order by completed_at limit $2
) returning tenant, person_id;

-- name: column_types
-- The columns of a table and their types.
select attname, format_type(atttypid, null) as type
from pg_attribute
where attrelid = to_regclass($1) and attnum > 0 and not attisdropped;

-- name: table_pages
-- How many pages of 8 KiB a table has.
select coalesce(pg_relation_size(to_regclass($1)), 0) / 8192 + 1;
