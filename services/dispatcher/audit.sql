-- name: overdue_messages
-- Messages that expired before $1 and still wait.
with open as (
    select message_id, expires_at, set_aside from messages where state = 'waiting' order by expires_at limit 10000
)
select (select count(*) from open) as checked, gap.*
from (select) as one
left join (
    select message_id as subject, expires_at as since,
        case when set_aside is null then 'message_not_ended' else 'message_set_aside' end as reason
    from open where expires_at < $1 order by expires_at limit $2
) as gap on true;

-- name: plant_waiting_message
-- The control of overdue_messages.
insert into messages (
    tenant, message_id, person_id, line, lane, say, state, content, button_ids, resend, requested_at, expires_at,
    not_before, changed_at, request_event
)
values (
    'audit-control', 'audit-control', '', '', 0, '', 'waiting', '{}', '{}', '', $1, $1, $1, $1, 'audit-control'
);

-- name: unended_attempts
-- Messages with an attempt whose lease ended before $1; machine time.
with open as (
    select message_id, lease_until from messages where state = 'intent' order by lease_until limit 10000
)
select (select count(*) from open) as checked, gap.*
from (select) as one
left join (
    select message_id as subject, lease_until as since, 'attempt_not_ended' as reason
    from open where lease_until < $1 order by lease_until limit $2
) as gap on true;

-- name: plant_attempt
-- The control of unended_attempts.
insert into messages (
    tenant, message_id, person_id, line, lane, say, state, content, button_ids, resend, requested_at, expires_at,
    not_before, changed_at, request_event, lease_until
)
values (
    'audit-control', 'audit-control', '', '', 0, '', 'intent', '{}', '{}', '', $1, $1, $1, $1, 'audit-control', $1
);

-- name: unsettled_sends
-- Messages that became uncertain before $1.
with open as (
    select message_id, changed_at from messages where state = 'uncertain' order by changed_at limit 10000
)
select (select count(*) from open) as checked, gap.*
from (select) as one
left join (
    select message_id as subject, changed_at as since, 'send_not_settled' as reason
    from open where changed_at < $1 order by changed_at limit $2
) as gap on true;

-- name: plant_uncertain_send
-- The control of unsettled_sends.
insert into messages (
    tenant, message_id, person_id, line, lane, say, state, content, button_ids, resend, requested_at, expires_at,
    not_before, changed_at, request_event
)
values (
    'audit-control', 'audit-control', '', '', 0, '', 'uncertain', '{}', '{}', '', $1, $1, $1, $1, 'audit-control'
);

-- name: sends_without_status
-- Messages that WhatsApp accepted before $1 and of which no status came.
with open as (
    select message_id, changed_at from messages
    where state = 'accepted' and rank = 0 and wamid is not null order by changed_at limit 10000
)
select (select count(*) from open) as checked, gap.*
from (select) as one
left join (
    select message_id as subject, changed_at as since, 'status_missing' as reason
    from open where changed_at < $1 order by changed_at limit $2
) as gap on true;

-- name: plant_accepted_send
-- The control of sends_without_status.
insert into messages (
    tenant, message_id, person_id, line, lane, say, state, content, button_ids, resend, requested_at, expires_at,
    not_before, changed_at, request_event, wamid
)
values (
    'audit-control', 'audit-control', '', '', 0, '', 'accepted', '{}', '{}', '', $1, $1, $1, $1, 'audit-control',
    'audit-control'
);
