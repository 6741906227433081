-- name: begin_audit
-- The state of a hop before a run: up to where it is checked, its open gaps and its pending subjects.
select
    (select checked_to from audit_runs where hop = $1) as checked_to,
    array(select subject from audit_gaps where hop = $1 and closed_at is null order by id limit $2) as open,
    (
        select coalesce(json_object_agg(subject, since), '{}')::text
        from (select subject, since from audit_pending where hop = $1 limit $2) as pending
    ) as pending;

-- name: open_gaps
-- Records gaps; one that is open already keeps the instant at which it was first seen. Gives the new ones.
insert into audit_gaps (hop, subject, since, reason, first_seen)
select $1, subject, since, reason, $5 from unnest($2::text[], $3::timestamptz[], $4::text[]) as g (subject, since, reason)
on conflict (hop, subject) where closed_at is null do nothing
returning subject, reason;

-- name: close_gaps
-- Closes the open gaps of a hop that a run did not find again.
update audit_gaps set closed_at = $3
where hop = $1 and closed_at is null and subject <> all ($2::text[])
returning subject, reason;

-- name: end_audit
-- A run came to its end.
insert into audit_runs (hop, ran_at, checked, checked_to) values ($1, $2, $3, $4)
on conflict (hop) do update
set ran_at = excluded.ran_at, checked = audit_runs.checked + excluded.checked,
    checked_to = coalesce(excluded.checked_to, audit_runs.checked_to);

-- name: delete_pending
-- Pending subjects of a hop that are no longer pending.
delete from audit_pending where hop = $1 and subject <> all ($2::text[]);

-- name: save_pending
-- Pending subjects of a hop.
insert into audit_pending (hop, subject, since)
select $1, subject, since from unnest($2::text[], $3::timestamptz[]) as p (subject, since)
on conflict (hop, subject) do update set since = excluded.since;

-- name: delete_old_gaps
-- A few closed gaps older than $1.
delete from audit_gaps where id in (select id from audit_gaps where closed_at < $1 limit $2);

-- name: gap_state
-- How many gaps of a hop are open, and since when the oldest of them.
select count(*) as gaps, min(since) as oldest from audit_gaps where hop = $1 and closed_at is null;

-- name: list_gaps
-- Gaps for an operator, the oldest first; closed ones too where $1.
select hop, subject, since, reason, first_seen, closed_at from audit_gaps
where closed_at is null or $1
order by id limit $2;

-- name: list_runs
-- When each hop was last audited, and how much was checked.
select hop, ran_at, checked, checked_to from audit_runs order by hop;

-- name: plant_stuck_record
-- The control of stuck_records.
insert into outbox (topic, value, written_at) values ('audit-control', '', $1);

-- name: stuck_records
-- Records of the outbox that have not left since before $1.
with open as (
    select id, topic, written_at from outbox order by id limit 10000
), control as (
    select id, topic, written_at from outbox where topic = 'audit-control' and id = (select max(id) from outbox)
), due as (
    select * from open where written_at < $1 union select * from control where written_at < $1
)
select (select count(*) from open) as checked, gap.*
from (select) as one
left join (
    select case topic when 'audit-control' then topic else topic || '/' || id end as subject, written_at as since,
        'record_not_relayed' as reason
    from due order by written_at limit $2
) as gap on true;
