-- name: unsettled_writes
-- Writes requested before $1 that have no outcome, though no open manual task of their record stands before them, and
-- no operator has paused the tenant.
with open as (
    select tenant, write_id, record, sequence, requested_at from writes
    where state in ('queued', 'intent') order by requested_at limit 10000
)
select (select count(*) from open) as checked, gap.*
from (select) as one
left join (
    select write_id as subject, requested_at as since, 'write_not_settled' as reason
    from open
    where requested_at < $1 and (
        select true from writes task
        where task.state = 'manual' and task.tenant = open.tenant and task.record = open.record
            and task.sequence < open.sequence
        limit 1
    ) is null and not exists (select from pauses p where p.tenant = open.tenant)
    order by requested_at limit $2
) as gap on true;

-- name: plant_write
-- The control of unsettled_writes.
insert into writes (
    tenant, write_id, ordering_key, record, operation, request, event_id, requested_at, due_at
)
values ('audit-control', 'audit-control', 'audit-control', 'audit-control', '', '{}', '', $1, 'infinity');

-- name: writes_without_task
-- Writes that wait for a person since before $1 without an open task.
with open as (
    select tenant, write_id, settled_at from writes where state = 'manual' order by settled_at limit 10000
)
select (select count(*) from open) as checked, gap.*
from (select) as one
left join (
    select open.write_id as subject, open.settled_at as since, 'task_missing' as reason
    from open
    where open.settled_at < $1 and not exists (
        select from tasks t
        where t.tenant = open.tenant and t.write_id = open.write_id and t.closed_at is null
    )
    order by open.settled_at limit $2
) as gap on true;

-- name: plant_manual_write
-- The control of writes_without_task.
insert into writes (
    tenant, write_id, ordering_key, record, operation, request, event_id, requested_at, due_at, state, settled_at
)
values (
    'audit-control', 'audit-control', 'audit-control', 'audit-control', '', '{}', '', $1, 'infinity', 'manual', $1
);

-- name: writes_without_evidence
-- Writes that got their outcome in a window, and open gaps again: a reason where the evidence does not have the outcome.
with settled as (
    (
        select tenant, write_id, outcome, settled_at, true as in_window from writes
        where settled_at between $1 and $2 order by settled_at limit $4
    )
    union
    select w.tenant, w.write_id, w.outcome, w.settled_at, false from writes w
    where w.settled_at < $1 and (w.tenant, w.write_id) in (
        select split_part(subject, ' ', 1), substr(subject, length(split_part(subject, ' ', 1)) + 2)
        from unnest($3::text[]) as given (subject)
    )
)
select case s.tenant when 'audit-control' then s.tenant else s.tenant || ' ' || s.write_id end as subject,
    s.settled_at as since, s.in_window,
    case when (
        select e.sequence from evidence_entries e
        where e.tenant = s.tenant and e.write_id = s.write_id and e.outcome = s.outcome limit 1
    ) is null and (
        select older.evidence_id from evidence older
        where older.tenant = s.tenant and older.write_id = s.write_id and older.outcome = s.outcome limit 1
    ) is null then 'evidence_missing' end as reason
from settled s
order by s.settled_at;

-- name: plant_settled_write
-- The control of writes_without_evidence.
insert into writes (
    tenant, write_id, ordering_key, record, operation, request, event_id, requested_at, due_at, state, outcome,
    settled_at
)
values (
    'audit-control', 'audit-control', 'audit-control', 'audit-control', '', '{}', '', $1, 'infinity', 'settled',
    'verified', $1
);
