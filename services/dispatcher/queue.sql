-- name: add
-- New messages; one that is known, or was withdrawn before it came, is left alone.
insert into messages (
    tenant, message_id, person_id, line, lane, state, spoken, button_ids, template_name, template_language,
    resend, requested_at, expires_at, not_before, changed_at, request_event, correlation_id, traceparent, say, rule, chain
)
select
    $1, n.message_id, n.person_id, n.line, n.lane, 'waiting', n.spoken, string_to_array(n.button_ids, e'\x1f'),
    n.template_name, n.template_language, n.resend, $2, n.expires_at, $2, $2, n.request_event, n.correlation_id,
    n.traceparent, n.say, n.rule, n.chain
from unnest(
    $3::text[], $4::text[], $5::text[], $6::smallint[], $7::json[], $8::text[], $9::text[], $10::text[],
    $11::text[], $12::timestamptz[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[]
) with ordinality as n (
    message_id, person_id, line, lane, spoken, button_ids, template_name, template_language,
    resend, expires_at, request_event, correlation_id, traceparent, say, rule, chain, place
)
where not exists (select from withdrawals w where w.tenant = $1 and w.message_id = n.message_id)
order by n.place
on conflict (tenant, message_id) do nothing;

-- name: remember_withdrawals
-- Withdrawals whose message has not come; they keep it from ever being queued.
insert into withdrawals (tenant, message_id, reason, at)
select $1, w.message_id, w.reason, $2 from unnest($3::text[], $4::text[]) as w (message_id, reason)
on conflict (tenant, message_id) do nothing;

-- name: due
-- What may go now on lines with room, critical lane first, then as it came; never of a person with one in flight, and
-- never before an earlier message of the same chat that still waits, whatever it waits for. Only where a chain waits for
-- a template do messages of other chains pass it.
select m.*, w.opened_at, p.person_id as known, p.phone, p.bsuid, t.state as template_state
from unnest($2::text[], $3::integer[]) as open_lines (line, room)
cross join (values (0::smallint), (1::smallint), (2::smallint)) as lanes (lane)
cross join lateral (
    select q.tenant, q.message_id, q.sequence, q.person_id, q.line, q.lane, q.spoken, q.requested_at, q.expires_at,
        q.not_before, q.template_only, q.attempts, q.template_name, q.template_language, q.traceparent
    from messages q
    where q.state = 'waiting' and q.line = open_lines.line and q.lane = lanes.lane and q.not_before <= $4
        and (q.hold_until is null or q.hold_until <= $5) and q.tenant = $1
        and q.set_aside is null and q.person_id <> all ($6::text[])
        and not exists (
            select from messages e
            where e.tenant = $1 and e.person_id = q.person_id and e.line = q.line and e.sequence < q.sequence
                and e.state in ('waiting', 'intent') and e.set_aside is null
                and (e.chain = q.chain or not exists (
                    select from messages t
                    where t.tenant = $1 and t.person_id = q.person_id and t.line = q.line and t.sequence <= e.sequence
                        and t.state = 'waiting' and t.reason in ('template_paused', 'template_held')
                        and (t.sequence = e.sequence or t.chain = e.chain)
                ))
        )
    order by q.not_before, q.sequence
    limit open_lines.room
) as m
left join people p on p.tenant = m.tenant and p.person_id = m.person_id
left join windows w on w.tenant = m.tenant and w.line = m.line and w.person_id = m.person_id
left join templates t on t.tenant = m.tenant and t.name = m.template_name and t.language = m.template_language
order by m.lane, m.not_before, m.sequence
limit $7;

-- name: expired
-- Waiting messages whose time is over, whatever their line is waiting for.
select message_id from messages
where tenant = $1 and state = 'waiting' and set_aside is null and expires_at <= $2
order by expires_at limit $3;

-- name: strangers
-- Waiting messages of lines nobody configured.
select message_id from messages
where tenant = $1 and state = 'waiting' and set_aside is null and line <> all ($2::text[]) and not_before <= $3
limit $4;

-- name: begin
-- Intents: what still waits gets its attempt number, lease and attempt row; the rest was withdrawn meanwhile.
with begun as (
    update messages m
    set state = 'intent', reason = null, attempts = m.attempts + 1, wording = b.wording, lease_until = $4,
        changed_at = $2, hold_until = null, wamid = null, rank = 0
    from unnest($5::text[], $6::text[]) as b (message_id, wording)
    where m.tenant = $1 and m.message_id = any ($5::text[]) and m.message_id = b.message_id and m.state = 'waiting'
    returning m.message_id, m.attempts, m.wording
), recorded as (
    insert into attempts (tenant, message_id, attempt, wording, begun_at, machine_at, lease_until)
    select $1, message_id, attempts, wording, $2, $3, $4 from begun
)
select message_id, attempts from begun;

-- name: wait
-- Messages that plan lets wait: until when, and why.
update messages m
set not_before = d.not_before, reason = d.reason
from unnest($2::text[], $3::timestamptz[], $4::text[]) as d (message_id, not_before, reason)
where m.tenant = $1 and m.message_id = any ($2::text[]) and m.message_id = d.message_id and m.state = 'waiting';

-- name: release_met
-- Messages that began to wait for a person or a template at the moment it came: neither side saw the other.
update messages m
set not_before = $2, reason = null
where m.tenant = $1 and m.state = 'waiting' and m.reason in ('unknown_person', 'template_paused') and m.not_before > $2
    and case m.reason
        when 'unknown_person' then exists (
            select from people p where p.tenant = m.tenant and p.person_id = m.person_id
        )
        else exists (
            select from templates t
            where t.tenant = m.tenant and t.name = m.template_name and t.language = m.template_language
                and t.state <> 'paused'
        )
    end;

-- name: recent_attempts
-- What the rates must remember at a take-over: who was written to since, by which line.
select m.line, m.person_id, a.begun_at
from attempts a
join messages m on m.tenant = a.tenant and m.message_id = a.message_id
where a.tenant = $1 and a.begun_at > $2
order by a.begun_at, m.sequence;

-- name: begun_lines
-- Lines by which a predecessor began sends of which nothing is known yet.
select distinct line from messages where tenant = $1 and state = 'intent' and set_aside is null and message_id <> all ($2::text[]);

-- name: waiting_lines
-- Per line: the next instant one may go (business time), not before the earlier ones of its chat, and the first expiry.
-- For a development clock; the cost grows with the square of a chat.
select q.line, min(q.expires_at) as expires, min(greatest(q.not_before, (
    select max(e.not_before) from messages e
    where e.tenant = $1 and e.person_id = q.person_id and e.line = q.line and e.sequence < q.sequence
        and e.state = 'waiting' and e.set_aside is null
        and (e.chain = q.chain or not exists (
            select from messages t
            where t.tenant = $1 and t.person_id = q.person_id and t.line = q.line and t.sequence <= e.sequence
                and t.state = 'waiting' and t.reason in ('template_paused', 'template_held')
                and (t.sequence = e.sequence or t.chain = e.chain)
        ))
))) as next
from messages q where q.tenant = $1 and q.state = 'waiting' and q.set_aside is null group by q.line;

-- name: waiting
-- How many messages wait, since when the oldest, and how many are set aside.
select count(*) as waiting, min(requested_at) as oldest,
    (select count(*) from messages where tenant = $1 and set_aside is not null) as set_aside
from messages where tenant = $1 and state = 'waiting' and set_aside is null;
