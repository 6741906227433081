-- What the verbs about recorded decisions read, as the operator. $1 is the tenant.

-- name: inputs
-- What the decisions of a time were made from, in the order they were made.
select document from rules.decision_inputs where tenant = $1 and decided_at >= $2 and decided_at < $3
order by decided_at, recorded_at, about;

-- name: facts
select digest, document from rules.recorded_facts where digest = any ($1::text[]);

-- name: rulebooks
select revision, files::text as files from rules.rulebooks order by first_seen;

-- name: chains_since
-- Chains that still run, or have changed since.
select document::text as document from rules.chains where tenant = $1 and (live or changed_at >= $2) order by chain_id;

-- name: work
select document::text as document from rules.works where tenant = $1 and work_id = $2;

-- name: works
select document::text as document from rules.works where tenant = $1;

-- name: people
select p.document::text as document, c.document::text as consent, a.document::text as absence
from rules.people p
left join rules.consent c on c.tenant = p.tenant and c.person_id = p.person_id
left join rules.absences a on a.tenant = p.tenant and a.person_id = p.person_id
where p.tenant = $1;

-- name: inputs_naming
-- What the decisions that read or began a chain ('' for none) were made from, the oldest first.
select document from rules.decision_inputs
where tenant = $1 and ($2 <> '' and position(convert_to($2, 'UTF8') in document) > 0 or about = any ($3::text[]))
order by decided_at, recorded_at, about limit 200;

-- name: chain_of_message
select chain_id from rules.messages where message_id = $1;

-- name: chain
select document::text as document, changed_at from rules.chains where tenant = $1 and chain_id = $2;
