-- name: entered_events
-- Events that entered the inbox in a window, the oldest first. The audit tells the parts of a subject by its spaces, and
-- leaves out a source that has some, which no URI has.
select tenant || ' ' || source || ' ' || id as subject, seen_at as since from inbox
where seen_at between $1 and $2 and position(' ' in source) = 0
order by seen_at limit $3;

-- name: undecided_events
-- Those of these events that are still in the inbox; one that waits for facts is not due yet.
with asked as (
    select subject, split_part(subject, ' ', 1) as tenant, split_part(subject, ' ', 2) as source
    from unnest($1::text[]) as given (subject)
)
select a.subject, i.seen_at as since,
    exists (select from waiting w where w.event_id = i.id and w.tenant = i.tenant) as excused
from asked a
join inbox i on i.tenant = a.tenant and i.source = a.source
    and i.id = substr(a.subject, length(a.tenant) + length(a.source) + 3);

-- name: plant_event
-- The control of entered_events and undecided_events.
insert into inbox (tenant, source, id, seen_at, brief) values ('audit-control', 'audit-control', 'audit-control', $1, false);

-- name: overdue_waits
-- Waiting events whose wait ended before $1.
with open as (
    select event_id, until from waiting order by until limit 10000
)
select (select count(*) from open) as checked, gap.*
from (select) as one
left join (
    select event_id as subject, until as since, 'event_still_waiting' as reason
    from open where until < $1 order by until limit $2
) as gap on true;

-- name: plant_wait
-- The control of overdue_waits.
insert into waiting (tenant, key, event_id, value, people, since, until)
values ('audit-control', 'audit-control', 'audit-control', '', '{}', $1, $1);

-- name: overdue_steps
-- Chains with a step that is due since before $1, unless an operator has paused the rule.
with open as (
    select chain_id, next_due from chains c
    where next_due is not null and not exists (
        select from pauses p where p.tenant = c.tenant and (p.kind = 'tenant' or p.kind = 'rule' and p.name = c.rule)
    )
    order by next_due limit 10000
)
select (select count(*) from open) as checked, gap.*
from (select) as one
left join (
    select chain_id as subject, next_due as since, 'step_not_run' as reason
    from open where next_due < $1 order by next_due limit $2
) as gap on true;

-- name: plant_step
-- The control of overdue_steps.
insert into chains (
    chain_id, tenant, rule, subject, revision, key, active, live, tags, people, guards, next_due, changed_at, document
)
values (
    'audit-control', 'audit-control', '', '', '', '', false, false, '{}', '{}', '{}', $1, $1, '{}'
);

-- name: unreported_messages
-- Messages that expired before $1, and of which the dispatcher has reported nothing.
with open as (
    select message_id, expires_at from messages
    where unsent and expires_at is not null order by expires_at limit 10000
)
select (select count(*) from open) as checked, gap.*
from (select) as one
left join (
    select message_id as subject, expires_at as since, 'message_without_outcome' as reason
    from open where expires_at < $1 order by expires_at limit $2
) as gap on true;

-- name: plant_message
-- The control of unreported_messages.
insert into messages (message_id, unsent, expires_at) values ('audit-control', true, $1);

-- name: unreported_writes
-- Writes requested before $1 of which writeback has reported nothing.
with open as (
    select write_id, requested_at from writes
    where outcome is null and requested_at is not null order by requested_at limit 10000
)
select (select count(*) from open) as checked, gap.*
from (select) as one
left join (
    select write_id as subject, requested_at as since, 'write_without_outcome' as reason
    from open where requested_at < $1 order by requested_at limit $2
) as gap on true;

-- name: plant_write
-- The control of unreported_writes.
insert into writes (write_id, chain_id, requested_at) values ('audit-control', 'audit-control', $1);
