-- What `stet consent` reads and writes, in the schema of rules and of ingest, as the operator. $1 is the tenant.

-- name: find_by_contact
-- The people who are these contacts of Consonance.
select contact_id, person_id from ingest.people where tenant = $1 and contact_id = any($2::bigint[]);

-- name: find_by_phone
-- The people who are reached at these numbers, as Consonance has them or as WhatsApp names the account; each by its one spelling.
select phone_key, person_id from ingest.people where tenant = $1 and phone_key = any($2::text[])
union
select wa_key, person_id from ingest.people where tenant = $1 and wa_key = any($2::text[]);

-- name: ledger
-- Every entry about these ids of one person, the oldest first.
select entry, person_id, change, at, source, evidence, line, document::text as document, recorded_at
from rules.consent_ledger where tenant = $1 and person_id = any($2::text[]) order by entry;
