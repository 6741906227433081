-- name: add_keys
-- A key for each person who has none yet; a destroyed key stays destroyed.
insert into evidence_keys (tenant, person_id, key_id, key, created_at)
select tenant, person_id, key_id, key, $5
from unnest($1::text[], $2::text[], $3::text[], $4::bytea[]) as given (tenant, person_id, key_id, key)
order by tenant, person_id
on conflict (tenant, person_id) do nothing;

-- name: fetch_keys
-- The keys of people; null for one that was destroyed. None of them is destroyed before the transaction ends: an erasure
-- waits, and finds what this transaction seals.
select k.tenant, k.person_id, k.key_id, k.key
from evidence_keys k
join unnest($1::text[], $2::text[]) as given (tenant, person_id) using (tenant, person_id)
order by k.tenant, k.person_id
for share of k;

-- name: add_chains
-- A chain without entries for each record that has none.
insert into evidence_chains (tenant, record, length, last_hash)
select tenant, record, 0, $3 from unnest($1::text[], $2::text[]) as given (tenant, record)
order by tenant, record
on conflict (tenant, record) do nothing;

-- name: lock_chains
-- The ends of these chains, locked until the transaction ends, always in the same order.
select c.tenant, c.record, c.length, c.last_hash
from evidence_chains c
join unnest($1::text[], $2::text[]) as given (tenant, record) using (tenant, record)
order by c.tenant, c.record
for update of c;

-- name: known_entries
-- Which of these entries are in a chain already.
select e.tenant, e.entry_id
from evidence_entries e
join unnest($1::text[], $2::text[]) as given (tenant, entry_id) using (tenant, entry_id);

-- name: add_entries
-- Appends entries; a number that is taken fails the transaction.
insert into evidence_entries (
    tenant, record, sequence, entry_id, write_id, outcome, key_id, header, hash, sealed, recorded_at
)
select *, $11
from unnest(
    $1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
    $10::text[]
);

-- name: move_ends
-- The new ends of chains.
update evidence_chains c
set length = given.length, last_hash = given.last_hash
from unnest($1::text[], $2::text[], $3::bigint[], $4::text[]) as given (tenant, record, length, last_hash)
where c.tenant = given.tenant and c.record = given.record;

-- name: fetch_entries
-- The chain of a record with the keys that open it, oldest first.
select e.sequence, e.entry_id, e.header, e.hash, e.key_id, e.sealed, e.recorded_at, k.key, k.destroyed_at
from evidence_entries e
left join evidence_keys k using (key_id)
where e.tenant = $1 and e.record = $2
order by e.sequence;

-- name: fetch_end
-- How many entries the chain of a record was given, and the hash of the last one.
select length, last_hash from evidence_chains where tenant = $1 and record = $2;

-- name: entries_of_people
-- The entries that are sealed by the keys of these people, by record; the key is null once it is destroyed.
select e.record, e.sequence, e.header, e.hash, e.key_id, e.sealed, e.recorded_at, k.key, k.destroyed_at
from evidence_keys k
join evidence_entries e using (key_id)
where k.tenant = $1 and k.person_id = any($2::text[])
order by e.record, e.sequence;

-- name: older_evidence
-- Rows of the table that an older version writes to, oldest first; those that another replica moves are skipped.
select evidence_id, tenant, record, write_id, operation, outcome, detail, asked, proof, read_back, note, recorded_at
from evidence
order by evidence_id
limit $1
for update skip locked;

-- name: allow_moving
-- Lets this transaction delete rows of the older table.
select set_config('stet.moves_evidence', 'on', true);

-- name: delete_older_evidence
-- Deletes rows that stand in the chains now.
delete from evidence where evidence_id = any ($1::bigint[]);

-- name: same_people
-- A person and all people who were merged into them, also by way of others.
with recursive merged as (
    select $2::text as person_id
    union
    select p.person_id from people p join merged m on p.tenant = $1 and p.merged_into = m.person_id
)
select person_id from merged;

-- name: erased_people
-- Which of these people are erased, or were merged into one who is, also by way of others.
with recursive line as (
    select person_id as asked, person_id from unnest($2::text[]) as given (person_id)
    union
    select l.asked, p.merged_into
    from line l
    join people p on p.tenant = $1 and p.person_id = l.person_id
    where p.merged_into is not null
)
select distinct l.asked from line l join people p on p.tenant = $1 and p.person_id = l.person_id where p.erased;

-- name: lock_holds
-- No hold is placed while a transaction that destroys keys is open, and the other way round.
select pg_advisory_xact_lock(hashtextextended('stet/writeback/evidence-holds', 0));

-- name: lock_keys
-- Waits for transactions that seal with these keys, in one order, so that their entries are seen by what comes next.
select person_id from evidence_keys
where tenant = $1 and person_id = any ($2::text[])
order by person_id
for update;

-- name: held_records_of
-- The records under a legal hold that have entries sealed for one of these people.
select distinct k.person_id, h.record
from evidence_keys k
join evidence_entries e on e.key_id = k.key_id
join evidence_holds h on h.tenant = e.tenant and h.record = e.record and h.released_at is null
where k.tenant = $1 and k.person_id = any ($2::text[]) and k.key is not null
order by k.person_id, h.record;

-- name: destroy_keys
-- Destroys keys for ever, also those of people about whom there is no evidence yet.
insert into evidence_keys (tenant, person_id, key_id, key, created_at, destroyed_at)
select $1, person_id, key_id, null, $4, $4
from unnest($2::text[], $3::text[]) as given (person_id, key_id)
order by person_id
on conflict (tenant, person_id) do update
set key = null, destroyed_at = $4, erasure_requested_at = null
where evidence_keys.destroyed_at is null;

-- name: postpone_destruction
-- Keeps in mind that keys are to be destroyed once no hold stands in the way.
update evidence_keys set erasure_requested_at = coalesce(erasure_requested_at, $3)
where tenant = $1 and person_id = any ($2::text[]) and destroyed_at is null;

-- name: waiting_destructions
-- People whose key a hold keeps although they are to be erased.
select person_id from evidence_keys
where tenant = $1 and erasure_requested_at is not null and destroyed_at is null
order by person_id;

-- name: place_hold
-- A legal hold on a record; no row where one stands.
insert into evidence_holds (tenant, record, since, who, reason)
values ($1, $2, $3, $4, $5)
on conflict (tenant, record) where released_at is null do nothing
returning hold_id;

-- name: release_hold
-- Ends the hold on a record; no row where none stands.
update evidence_holds set released_at = $3, released_by = $4, release_reason = $5
where tenant = $1 and record = $2 and released_at is null
returning hold_id;

-- name: fetch_holds
-- All holds on a record, or on all of them, standing ones included.
select record, since, who, reason, released_at, released_by, release_reason
from evidence_holds
where tenant = $1 and ($2::text is null or record = $2)
order by since, hold_id;
