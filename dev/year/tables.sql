-- name: define_count
-- For this session: how many rows a table has.
create function pg_temp.count_rows(counted regclass) returns bigint language plpgsql as $$
declare
    found bigint;
begin
    execute format('select count(*) from %s', counted) into found;
    return found;
end $$;

-- name: table_sizes
-- Every table of the services and the operators: its rows, counted, and its bytes with indexes and partitions.
select
    n.nspname || '.' || c.relname as name,
    pg_temp.count_rows(c.oid) as rows,
    coalesce(
        (select sum(pg_total_relation_size(relid)) from pg_partition_tree(c.oid)), pg_total_relation_size(c.oid)
    )::bigint as bytes
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where n.nspname = any ($1::text[]) and c.relkind in ('r', 'p') and not c.relispartition
order by n.nspname, c.relname;

-- name: age_every_service
-- What is kept by machine time becomes older by so much, in the schema of any service.
with inbox_aged as (
    update inbox set seen_at = seen_at - $1::interval
), parked_aged as (
    update parked set parked_at = parked_at - $1::interval, settled_at = settled_at - $1::interval
), gaps_aged as (
    update audit_gaps set closed_at = closed_at - $1::interval where closed_at is not null
)
select 1;

-- name: age_ingest
-- The same for ids of pushed events.
update pushed set taken_at = taken_at - $1::interval;

-- name: age_rules
-- The same for what decisions were made from.
with facts_aged as (
    update recorded_facts set read_on = (read_on - $1::interval)::date
)
update decision_inputs set recorded_at = recorded_at - $1::interval;

-- name: age_dispatcher
-- The same for files at WhatsApp, and for documents that were sent.
with uploads_aged as (
    update uploads set expires_at = expires_at - $1::interval
)
update documents set settled_at = settled_at - $1::interval where settled_at is not null;

-- name: counts
-- How much of each kind of traffic there is at this moment.
select
    (select count(*) from ingest.people where state ? 'merged_into') as merged,
    (select count(*) from ingest.media_files where object_key is not null) as files,
    (select count(*) from dispatcher.messages where rank > 0) as messages,
    (select count(*) from writeback.writes where outcome in ('verified', 'already_applied')) as writes,
    (select count(*) from rules.chains where jsonb_array_length(coalesce(document -> 'given', '[]')) > 0) as answered,
    (select count(*) from rules.acquisitions where reference is not null) as pitches,
    (select count(*) from ingest.erasures) as erased,
    (select count(*) from rules.parked where state = 'discarded') as parked;

-- name: settle_parked
-- As stet parked discard does it.
update parked set state = 'discarded', note = 'a year of traffic', settled_at = $1 where state = 'parked';
