-- What `stet trace` and `stet why` read, over all schemas, as the operator. $1 is the tenant.

-- name: find_person
-- A person by Stet's id or by the contact's id in Consonance, and which tables know them.
select person_id from ingest.people where tenant = $1 and (person_id = $2 or contact_id::text = $2)
union
select person_id from rules.people where tenant = $1 and person_id = $2
union
select person_id from dispatcher.people where tenant = $1 and person_id = $2;

-- name: same_people
-- Every id that the person $2 has or had: what it was merged into, and what was merged into that.
with recursive later as (
    select $2::text as person_id
    union
    select p.state ->> 'merged_into'
    from later join ingest.people p on p.tenant = $1 and p.person_id = later.person_id
    where p.state ? 'merged_into'
), same as (
    select person_id from later
    union
    select p.person_id
    from same join ingest.people p
        on p.tenant = $1 and p.state ->> 'merged_into' = same.person_id and p.state ? 'merged_into'
)
select person_id from same order by person_id;

-- name: contacts
-- The numbers in Consonance of these people, $2; visitors have none.
select person_id, contact_id from ingest.people
where tenant = $1 and person_id = any($2::text[]) and contact_id is not null;

-- name: has_chain
select exists (select from rules.chains where tenant = $1 and chain_id = $2);

-- name: has_message
select exists (select from dispatcher.messages where tenant = $1 and message_id = $2)
    or exists (select from rules.messages where message_id = $2);

-- name: has_write
select exists (select from writeback.writes where tenant = $1 and write_id = $2)
    or exists (select from rules.writes where write_id = $2);

-- name: chains
-- The chains that an id stands for or belongs to; for a person, by each of their ids, the newest ones.
select chain_id, changed_at, document::text from rules.chains
where tenant = $1 and chain_id in (
    select unnest($2::text[])
    union
    select chain_id from rules.messages
    where (message_id = any($2::text[]) or person_id = any($2::text[])) and chain_id is not null
    union
    select chain_id from rules.writes where write_id = any($2::text[])
    union
    select chain_id from rules.chains where document ->> 'correlation' = any($2::text[])
    union
    select chain_id from rules.chains where live and people && $2::text[]
)
order by changed_at desc
limit $3;

-- name: chains_of_subject
-- Chains about a work or with one of these tags.
select chain_id, changed_at, document::text from rules.chains
where tenant = $1 and (key = $2 or tags && $3::text[] or subject = any ($3::text[]))
order by changed_at desc
limit $4;

-- name: set_aside
select chain_id, due, reason, sentence, set_aside_at from rules.chains_set_aside where chain_id = any ($1::text[]);

-- name: messages
select message_id, person_id, line, lane, say, rule, chain, state, reason, resend, requested_at, expires_at, not_before,
    changed_at, attempts, wording, template_name, withdrawal, coalesce(used_template, template_name) as used_template,
    coalesce(used_language, template_language) as used_language, set_aside, failed_code, correlation_id, request_event,
    content::text as content
from dispatcher.messages
where tenant = $1 and (
    message_id = any ($2::text[]) or chain = any ($3::text[]) or person_id = any ($4::text[]) or correlation_id = $5 or request_event = $5
)
order by sequence;

-- name: attempts
select message_id, attempt, wording, begun_at, ending, ended_at, code from dispatcher.attempts
where tenant = $1 and message_id = any ($2::text[]) order by message_id, attempt;

-- name: writes
select w.write_id, w.record, w.operation, w.state, w.attempts, w.requested_at, w.outcome, w.settled_at, w.due_at,
    w.correlation_id, t.task_id, t.reason as task_reason, t.opened_at, t.closed_at
from writeback.writes w
left join writeback.tasks t on t.tenant = w.tenant and t.write_id = w.write_id
where w.tenant = $1 and (
    w.write_id = any ($2::text[]) or w.correlation_id = $3 or w.event_id = $3
    or w.write_id in (select write_id from rules.writes where chain_id = any ($4::text[]))
)
order by w.sequence;

-- name: waiting
-- Events of rules that wait for a person, a work or a message.
select event_id, key, people, work_id, since, until from rules.waiting
where tenant = $1 and (
    event_id = any ($2::text[]) or people && $2::text[]
    or key like any (select '%/' || id from unnest($2::text[]) as given (id))
);

-- name: parked
-- Parked records in which one of the texts stands.
select id, topic, reason, parked_at, state, settled_at from SCHEMA.parked
where exists (select from unnest($1::text[]) as given (id) where position(convert_to(given.id, 'UTF8') in value) > 0)
order by id limit 50;

-- name: rulebook
select files::text from rules.rulebooks where revision = $1;

-- name: newest_revision
select revision from rules.rulebook_activations order by number desc limit 1;

-- name: waiting_reasons
-- Why the dispatcher lets these messages wait: their own reason, or WhatsApp stopped or slowed what they leave by.
select m.message_id, coalesce(m.reason, t.what) as reason
from dispatcher.messages m
left join lateral (
    select case scope when 'account' then 'the account' when 'number' then 'line ' || subject else 'business account ' || subject end
        || case when by_operator then ' is stopped' else ' is throttled' end || ', code ' || code as what
    from dispatcher.throttles
    where tenant = m.tenant and until > $3
        and (scope in ('account', 'business_account') or scope = 'number' and subject = m.line)
    order by by_operator desc, until desc limit 1
) t on true
where m.tenant = $1 and m.message_id = any ($2::text[]) and m.state = 'waiting' and coalesce(m.reason, t.what) is not null;

-- name: rule_pauses
-- What operators hold of the rules: everything, or one rule.
select kind, name, since, who, reason from rules.pauses where tenant = $1 and kind in ('tenant', 'rule') order by since;
