-- Finds the person that a command means, and what the services know of the person.

-- name: find_person
-- By id, by the contact's number in Consonance, by BSUID, or by phone number; a merged person, also by way of others,
-- is who they are now. A contact comes before a visitor.
with recursive found as (
    select person_id, contact_id, state, 0 as merges from ingest.people
    where tenant = $1 and (
        person_id = $2 or contact_id::text = $2 or bsuid = $2 or phone_key = $2 or wa_key = $2
        or state #>> '{addresses,phone}' = $2
    )
    union all
    select p.person_id, p.contact_id, p.state, found.merges + 1
    from found join ingest.people p on p.tenant = $1 and p.person_id = found.state ->> 'merged_into'
    where found.merges < 20
)
select person_id from found where not state ? 'merged_into' order by contact_id nulls last, merges limit 1;

-- name: people_of
-- The person, and all people who were merged into that person, also by way of others; the person first.
with recursive merged as (
    select $2::text as person_id, 0 as merges
    union all
    select p.person_id, merged.merges + 1
    from merged join ingest.people p
        on p.tenant = $1 and p.state ->> 'merged_into' = merged.person_id and p.state ? 'merged_into'
    where merged.merges < 20
)
select person_id from merged order by merges, person_id;

-- name: held_records
-- The records under a legal hold for which the key of the evidence of one of these people is kept.
select distinct h.record
from writeback.evidence_keys k
join writeback.evidence_entries e on e.key_id = k.key_id
join writeback.evidence_holds h on h.tenant = e.tenant and h.record = e.record and h.released_at is null
where k.tenant = $1 and k.person_id = any($2::text[]) and k.key is not null
order by h.record;

-- name: erasures
-- How far the erasure of these people is in one service.
select person_id, requested_at, passes, next_at, left_over, completed_at
from SCHEMA.erasures
where tenant = $1 and person_id = any($2::text[]);
