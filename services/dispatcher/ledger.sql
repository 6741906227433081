-- name: load
-- Where messages stand, locked in one order so that two batches never wait for each other.
select message_id, person_id, line, state, reason, resend, template_name is not null as has_template, expires_at,
    not_before, hold_until, attempts, wording, template_only, wamid, rank, failed_attempt, failed_code, withdrawal,
    failures, template_name, template_language, request_event, correlation_id, traceparent
from messages
where tenant = $1 and message_id = any ($2::text[])
order by message_id
for update;

-- name: save
-- The new standing of messages already locked. (The list of ids is repeated so that the plan never scans the table.)
update messages m
set state = s.state, reason = s.reason, not_before = s.not_before, hold_until = s.hold_until, wamid = s.wamid,
    rank = s.rank, failed_attempt = s.failed_attempt, failed_code = s.failed_code,
    template_only = s.template_only, withdrawal = s.withdrawal, failures = s.failures, changed_at = $2
from unnest(
    $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[], $8::text[], $9::smallint[],
    $10::integer[], $11::integer[], $12::boolean[], $13::text[], $14::integer[]
) as s (
    message_id, state, reason, not_before, hold_until, wamid, rank, failed_attempt, failed_code, template_only,
    withdrawal, failures
)
where m.tenant = $1 and m.message_id = any ($3::text[]) and m.message_id = s.message_id;

-- name: end_attempts
-- How attempts ended; a later proof overwrites an earlier doubt.
update attempts a
set ending = e.ending, wamid = coalesce(e.wamid, a.wamid), code = e.code, ended_at = $2
from unnest($3::text[], $4::integer[], $5::text[], $6::text[], $7::integer[])
    as e (message_id, attempt, ending, wamid, code)
where a.tenant = $1 and a.message_id = any ($3::text[]) and a.message_id = e.message_id and a.attempt = e.attempt;

-- name: attempts_of_wamids
-- Which attempt a wamid belongs to.
select wamid, message_id, attempt from attempts where tenant = $1 and wamid = any ($2::text[]);

-- name: offering
-- Messages not proved yet that offered the button a person tapped, unless the tap quotes a send we know.
select distinct on (b.place) b.place, m.message_id
from unnest($2::text[], $3::text[], $4::text[]) with ordinality as b (person_id, button_id, quoted_id, place)
join messages m on m.tenant = $1 and m.person_id = b.person_id and b.button_id = any (m.button_ids)
where m.state in ('waiting', 'intent', 'uncertain') and m.attempts > 0
    and not exists (select from attempts a where a.tenant = $1 and a.wamid = b.quoted_id)
order by b.place, m.sequence desc;

-- name: leases_ended
-- Intents whose owner has gone or has lost its way; machine time.
select message_id from messages
where tenant = $1 and state = 'intent' and set_aside is null and lease_until < $2 and message_id <> all ($3::text[])
limit $4;

-- name: unproven
-- Uncertain sends old enough, by both clocks, to be settled by silence, and begun while the stream was whole.
select m.message_id
from messages m
join attempts a on a.tenant = m.tenant and a.message_id = m.message_id and a.attempt = m.attempts
where m.tenant = $1 and m.state = 'uncertain' and (m.resend = 'if_unproven' or m.withdrawal is not null)
    and m.set_aside is null and a.begun_at <= $2 and a.machine_at between $3 and $4
order by a.machine_at limit $5;

-- name: open_sends
-- Sends in flight, and sends nobody can prove with the business instant their silence may settle them.
select
    count(*) filter (where m.state = 'intent') as in_flight,
    count(*) filter (where m.state = 'uncertain') as uncertain,
    min(a.begun_at) filter (where m.state = 'uncertain') as oldest_uncertain,
    min(a.begun_at) filter (
        where m.state = 'uncertain' and (m.resend = 'if_unproven' or m.withdrawal is not null)
    ) as next_unproven
from messages m
join attempts a on a.tenant = m.tenant and a.message_id = m.message_id and a.attempt = m.attempts
where m.tenant = $1 and m.state in ('intent', 'uncertain') and m.set_aside is null;

-- name: uncertain
-- Every send nobody can prove, the oldest first, for a person to look at.
select m.message_id, m.person_id, m.line, m.say, m.rule, m.reason, m.resend, m.withdrawal, m.attempts, m.expires_at,
    a.begun_at
from messages m
join attempts a on a.tenant = m.tenant and a.message_id = m.message_id and a.attempt = m.attempts
where m.tenant = $1 and m.state = 'uncertain' and ($2::text is null or m.message_id = $2)
order by a.begun_at;

-- name: attempts
-- The attempts of one message.
select attempt, wording, begun_at, machine_at, ending, ended_at, wamid, code
from attempts where tenant = $1 and message_id = $2 order by attempt;
