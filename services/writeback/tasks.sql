-- name: list_open
-- Every open manual task, oldest first.
select t.task_id, t.opened_at, t.reason, w.operation, w.record
from tasks t
join writes w using (tenant, write_id)
where t.closed_at is null
order by t.task_id

-- name: show
-- One task with the request it stands for, open or closed.
select t.task_id, t.opened_at, t.closed_at, t.reason, t.wanted, t.said, t.note, w.tenant, w.write_id, w.lane, w.record,
    w.operation, w.request, w.event_id, w.correlation_id, w.traceparent, w.value
from tasks t
join writes w using (tenant, write_id)
where t.task_id = $1

-- name: close
-- A person did it; no row where it was closed before.
update tasks set closed_at = $2, note = $3 where task_id = $1 and closed_at is null returning write_id

-- name: settle_by_hand
-- The write rests; what waited behind it goes on.
update writes
set state = 'settled', outcome = 'done_by_hand', settled_at = $3
where tenant = $1 and write_id = $2 and state = 'manual'
