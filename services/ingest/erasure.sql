-- Erasures in ingest: whom a request means, and what is left of that person.

-- name: people_of_contact
-- The person of a contact, locked.
select person_id from people where tenant = $1 and contact_id = $2 order by person_id for update;

-- name: people_merged_into
-- The person, and all people who were merged into that person, also by way of others, locked.
with recursive merged as (
    select $2::text as person_id
    union
    select p.person_id from merged m join people p
        on p.tenant = $1 and p.state ->> 'merged_into' = m.person_id and p.state ? 'merged_into'
)
select person_id, version, state::text as state
from people
where tenant = $1 and person_id in (select person_id from merged)
order by person_id
for update;

-- name: save_erased
-- The erased state of a person, and nothing to find the person by.
update people set contact_id = null, bsuid = null, phone_key = null, wa_key = null, version = $3, state = $4::jsonb
where tenant = $1 and person_id = $2;

-- name: former_addresses
-- The addresses that a person has left.
select address from former_addresses where tenant = $1 and person_id = $2;

-- name: delete_former_addresses
-- Delete the addresses that a person has left.
delete from former_addresses where tenant = $1 and person_id = $2;

-- name: save_erased_addresses
-- The hashes of a person's addresses, with the instant of the request; an address that another person has is theirs.
insert into erased_addresses (tenant, address_hash, erased_at)
select $1, hash, coalesce((select requested_at from erasures where tenant = $1 and person_id = $2), $3)
from unnest($4::text[], $5::text[]) as given (hash, address_key)
where not exists (
    select from people o
    where o.tenant = $1 and o.person_id <> $2
        and (o.phone_key = address_key or o.wa_key = address_key or o.bsuid = address_key)
)
on conflict (tenant, address_hash) do update
set erased_at = greatest(erased_addresses.erased_at, excluded.erased_at);

-- name: delete_old_erased_addresses
-- Delete hashes of addresses of people who were erased before $1, at most $2 of them, and return how many.
with gone as (
    delete from erased_addresses where ctid in (
        select ctid from erased_addresses where erased_at < $1 order by erased_at limit $2
    ) returning 1
)
select count(*) from gone;

-- name: save_erased_contact
-- A contact whose person was erased.
insert into erased_contacts (tenant, contact_id, erased_at) values ($1, $2, $3) on conflict do nothing;

-- name: delete_contact_snapshot
-- The last snapshot of a contact in Consonance.
delete from snapshots where tenant = $1 and entity = 'contacts' and id = $2;

-- name: erased_contacts
-- Those of these contacts whose person was erased.
select contact_id from erased_contacts where tenant = $1 and contact_id = any($2::bigint[]);

-- name: expired_visitors
-- Some people who never became contacts, were not merged into another person, and have not written since an instant.
select person_id from people p
where contact_id is null and tenant = $1 and (state ->> 'observed_at') < $2
    and coalesce(state ->> 'erased', 'false') <> 'true' and not state ? 'merged_into'
    and (
        select true from erasures e where e.tenant = p.tenant and e.person_id = p.person_id and e.next_at is not null
    ) is not true
order by state ->> 'observed_at'
limit $3;

-- name: forget_visitors
-- The pseudonyms of those of these people who are visitors and still erased; that of a contact stays, for Consonance may still
-- name them. Gives those that are forgotten.
delete from people p using unnest($1::text[], $2::text[]) as gone (tenant, person_id)
where p.tenant = gone.tenant and p.person_id = gone.person_id and p.person_id like 'v%'
    and (p.state ->> 'erased')::boolean
returning p.tenant, p.person_id;
