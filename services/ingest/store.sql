-- name: people_at
-- The people at these BSUIDs or numbers (their own, or the one WhatsApp uses) or who have left them, those with these ids,
-- and those who share a number with a person at one of these BSUIDs; each with the addresses that they have left.
select state::text as state, (
    select json_agg(json_build_object('address', f.address, 'until', f.until))::text
    from former_addresses f where f.tenant = people.tenant and f.person_id = people.person_id
) as former
from people
where tenant = $1 and (
    bsuid = any($2::text[]) or phone_key = any($2::text[]) or wa_key = any($2::text[]) or person_id = any($3::text[])
    or phone_key = any(array(select phone_key from people where tenant = $1 and bsuid = any($2::text[])))
    or phone_key = any(array(select wa_key from people where tenant = $1 and bsuid = any($2::text[])))
    or wa_key = any(array(select phone_key from people where tenant = $1 and bsuid = any($2::text[])))
    or person_id = any(array(select person_id from former_addresses where tenant = $1 and address_key = any($2::text[])))
);

-- name: lock_people
-- These people, locked until the transaction ends, always in the same order.
select from people where tenant = $1 and person_id = any($2::text[]) order by person_id for update;

-- name: erased_addresses
-- Those of these addresses, as keyed hashes, whose person was erased, and when that was asked for.
select address_hash, erased_at from erased_addresses where tenant = $1 and address_hash = any($2::text[]);

-- name: save_people
-- The new state of each person; an older version never overwrites a newer one.
insert into people (tenant, person_id, contact_id, bsuid, phone_key, wa_key, version, state)
select $1, person_id, contact_id, bsuid, phone_key, wa_key, version, state::jsonb
from unnest($2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::text[])
    as given (person_id, contact_id, bsuid, phone_key, wa_key, version, state)
on conflict (tenant, person_id) do update set
    contact_id = excluded.contact_id,
    bsuid = excluded.bsuid,
    phone_key = excluded.phone_key,
    wa_key = excluded.wa_key,
    version = excluded.version,
    state = excluded.state
where people.version < excluded.version;

-- name: save_former_addresses
-- The addresses that people have left; those of people who were merged ($2) are others' now.
with merged as (delete from former_addresses where tenant = $1 and person_id = any($2::text[]))
insert into former_addresses (tenant, person_id, address, address_key, until)
select $1, person_id, address, address_key, until
from unnest($3::text[], $4::text[], $5::text[], $6::timestamptz[]) as given (person_id, address, address_key, until)
on conflict do nothing;

-- name: load_snapshots
-- The last snapshots of these records.
select id, version, view::text as view from snapshots where tenant = $1 and entity = $2 and id = any($3::bigint[]);

-- name: save_snapshots
-- The new snapshots of these records.
insert into snapshots (tenant, entity, id, version, view, observed_at)
select $1, $2, id, version, view::jsonb, $3
from unnest($4::bigint[], $5::bigint[], $6::text[]) as given (id, version, view)
on conflict (tenant, entity, id) do update set
    version = excluded.version, view = excluded.view, observed_at = excluded.observed_at;

-- name: load_pass
-- The pass over an entity that is under way, or the last one.
select started_at, changed_since, after, completed_at, fields from passes where tenant = $1 and entity = $2;

-- name: begin_pass
-- A new pass, from the first record.
insert into passes (tenant, entity, started_at, changed_since, after, completed_at, fields)
values ($1, $2, $3, $4, 0, null, '{}')
on conflict (tenant, entity) do update set
    started_at = excluded.started_at, changed_since = excluded.changed_since, after = 0, completed_at = null;

-- name: take_pass
-- A poll begins the pass or goes on with it; gives the term of that poll, and ends the terms of earlier ones.
update passes set term = term + 1 where tenant = $1 and entity = $2 returning term;

-- name: hold_pass
-- The pass, until the transaction ends, where the term is still that of the last poll. A poll of a replica that stood still
-- holds it no more.
select term from passes where tenant = $1 and entity = $2 and term = $3 for share;

-- name: advance_pass
-- All records up to this id have been read.
update passes set after = $4 where tenant = $1 and entity = $2 and term = $3 and completed_at is null;

-- name: complete_pass
-- All records have been read: from now on differences in these fields are published.
update passes set completed_at = $4, fields = $5::text[]
where tenant = $1 and entity = $2 and term = $3 and completed_at is null;

-- name: find_received
-- Those of these CloudEvents that were received before.
select pushed.source, pushed.id from pushed
join unnest($2::text[], $3::text[]) as given (source, id) using (source, id)
where pushed.tenant = $1;

-- name: add_received
-- These CloudEvents are received; returns those that were not before.
insert into pushed (tenant, source, id, taken_at)
select $1, source, id, $4 from unnest($2::text[], $3::text[]) as given (source, id)
on conflict do nothing
returning source, id;

-- name: delete_old_received
-- Delete received CloudEvents older than $1, at most $2 of them, and return how many.
with gone as (
    delete from pushed where ctid in (select ctid from pushed where taken_at < $1 order by taken_at limit $2) returning 1
)
select count(*) from gone;

-- name: load_coverage
-- The coverage of an account's webhook, locked, so that replicas take turns.
select since, until, gap_since, gap_until from webhook_coverage where tenant = $1 and account = $2 for update;

-- name: save_coverage
-- The coverage after a heartbeat.
insert into webhook_coverage (tenant, account, since, until, gap_since, gap_until) values ($1, $2, $3, $4, $5, $6)
on conflict (tenant, account) do update set
    since = excluded.since,
    until = excluded.until,
    gap_since = excluded.gap_since,
    gap_until = excluded.gap_until;

-- name: record_replica
-- A replica that receives webhooks lives now.
insert into webhook_replicas (tenant, account, replica, beaten_at) values ($1, $2, $3, clock_timestamp())
on conflict (tenant, account, replica) do update set beaten_at = excluded.beaten_at;

-- name: remove_lost_replicas
-- Remove the replicas without a heartbeat for $3, and return how many.
with gone as (
    delete from webhook_replicas where tenant = $1 and account = $2 and beaten_at < clock_timestamp() - $3::interval
    returning 1
)
select count(*) from gone;

-- name: remove_replica
-- A replica has answered all of its webhooks, and ends.
delete from webhook_replicas where tenant = $1 and account = $2 and replica = $3;
