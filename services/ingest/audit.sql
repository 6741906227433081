-- name: received_events
-- CloudEvents accepted from senders in a window, the oldest first. The audit tells the parts of a subject by its spaces,
-- and leaves out a source that has some, which no URI has. Parked input has the source "parked".
select tenant || ' ' || source || ' ' || id as subject, taken_at as since from pushed
where taken_at between $1 and $2 and source <> 'parked' and position(' ' in source) = 0
order by taken_at limit $3;

-- name: plant_received_event
-- The control of received_events and unpublished_events.
insert into pushed (tenant, source, id, taken_at) values ('audit-control', 'audit-control', 'audit-control', $1);

-- name: unpublished_events
-- Those of these CloudEvents that are still kept; none is excused.
with asked as (
    select subject, split_part(subject, ' ', 1) as tenant, split_part(subject, ' ', 2) as source
    from unnest($1::text[]) as given (subject)
)
select a.subject, p.taken_at as since, false as excused
from asked a
join pushed p on p.tenant = a.tenant and p.source = a.source
    and p.id = substr(a.subject, length(a.tenant) + length(a.source) + 3);

-- name: unconfirmed_coverage
-- Accounts whose webhook no replica has confirmed since $1; machine time.
select (select count(*) from webhook_coverage) as checked, gap.*
from (select) as one
left join (
    select account as subject, until as since, 'coverage_not_confirmed' as reason
    from webhook_coverage where until < $1 order by until limit $2
) as gap on true;

-- name: plant_coverage
-- The control of unconfirmed_coverage.
insert into webhook_coverage (tenant, account, since, until) values ('audit-control', 'audit-control', $1, $1);

-- name: unfinished_polls
-- Passes over Consonance that began before $1 and have not ended.
select (select count(*) from passes) as checked, gap.*
from (select) as one
left join (
    select case tenant when 'audit-control' then tenant else entity end as subject, started_at as since,
        'poll_not_completed' as reason
    from passes where completed_at is null and started_at < $1 order by started_at limit $2
) as gap on true;

-- name: plant_poll
-- The control of unfinished_polls.
insert into passes (tenant, entity, started_at, after, fields) values ('audit-control', 'audit-control', $1, 0, '{}');
