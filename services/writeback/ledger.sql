-- name: fetch_due
-- The first write of every free lane that is due; a write behind an open manual task of its record is passed over, and
-- holds nobody up.
select w.tenant, w.write_id, w.lane
from writes w
where w.state in ('queued', 'intent')
  and w.due_at <= $1
  and w.lane <> all ($2::text[])
  and not exists (
      select from writes task
      where task.state = 'manual' and task.tenant = w.tenant and task.record = w.record and task.sequence < w.sequence
  )
  and not exists (
      select from writes earlier
      where earlier.state in ('queued', 'intent') and earlier.lane = w.lane and earlier.sequence < w.sequence
        and not exists (
            select from writes task
            where task.state = 'manual' and task.tenant = earlier.tenant and task.record = earlier.record
              and task.sequence < earlier.sequence
        )
  )
order by w.due_at, w.sequence
limit $3

-- name: fetch_write
-- One write with all that is known of it, unless it rests.
select sequence, tenant, write_id, lane, record, operation, once_key, request, event_id, correlation_id, traceparent,
    attempts, answer, asked_at, looks, failed_reads, unknown_told, before
from writes
where tenant = $1 and write_id = $2 and state in ('queued', 'intent')

-- name: fetch_by_hand
-- What a person recorded by hand under a once-key.
select value
from writes
where tenant = $1 and once_key = $2 and write_id <> $3 and outcome = 'done_by_hand'
order by sequence desc
limit 1

-- name: fetch_decision
-- The decision that stands for a rights request, as it was recorded.
select value
from writes
where tenant = $1 and once_key = $2 and outcome in ('verified', 'already_applied', 'done_by_hand')
order by sequence desc
limit 1

-- name: fetch_contact
-- The Consonance contact a person is, where known.
select contact_id from people where tenant = $1 and person_id = $2 and not erased

-- name: intend
-- Commits the intent to write before the call; fails where another process has moved the write on.
update writes
set state = 'intent', attempts = attempts + 1, answer = 'unanswered', asked_at = $3, looks = 0, failed_reads = 0,
    before = coalesce(before, $5::jsonb)
where tenant = $1 and write_id = $2 and state in ('queued', 'intent') and attempts = $4
returning attempts

-- name: note_answer
-- How the attempt was answered, and the last moment it was in flight.
update writes
set answer = $4, asked_at = $5
where tenant = $1 and write_id = $2 and attempts = $3 and state = 'intent'

-- name: take_back_intent
-- The request never left: the attempt did not happen.
update writes
set state = case when attempts = 1 then 'queued' else 'intent' end, attempts = attempts - 1,
    answer = case when attempts = 1 then null else 'failed' end,
    asked_at = case when attempts = 1 then null else asked_at end, due_at = $4
where tenant = $1 and write_id = $2 and attempts = $3 and state = 'intent'

-- name: postpone
-- To be looked at again later.
update writes
set due_at = $3, looks = looks + 1, unknown_told = unknown_told or $4, failed_reads = $5
where tenant = $1 and write_id = $2 and state in ('queued', 'intent')

-- name: set_aside
-- What surprised is looked at again later; what is known of it stays.
update writes
set due_at = $3, looks = looks + 1
where tenant = $1 and write_id = $2 and state in ('queued', 'intent')

-- name: settle
-- The write rests with its outcome; no row where another process was first.
update writes
set state = $3, outcome = $4, value = $5, settled_at = $6
where tenant = $1 and write_id = $2 and state in ('queued', 'intent') and attempts = $7
returning sequence

-- name: add_evidence
-- Appends what proves a write, and what came of it.
insert into evidence (tenant, record, write_id, operation, outcome, detail, asked, proof, read_back, note, recorded_at)
values ($1, $2, $3, $4, $5, $6, $7::jsonb, $8::jsonb, $9::jsonb, $10, $11)

-- name: open_task
-- A person has to do it.
insert into tasks (tenant, write_id, reason, wanted, said, opened_at)
values ($1, $2, $3, $4::jsonb, $5::jsonb, $6)

-- name: backlog
-- What an operator and the development clock ask: writes in motion, the oldest of them, and open tasks.
select
    count(*) filter (where w.state in ('queued', 'intent') and not held.behind) as moving,
    count(*) filter (where w.state in ('queued', 'intent') and held.behind) as held,
    count(*) filter (where w.state = 'manual') as manual,
    min(w.requested_at) filter (where w.state in ('queued', 'intent')) as oldest
from writes w
cross join lateral (
    select exists (
        select from writes m
        where m.state = 'manual' and m.tenant = w.tenant and m.record = w.record and m.sequence < w.sequence
    ) as behind
) held
where w.state in ('queued', 'intent') or w.state = 'manual'

-- name: hold_lane
-- Takes the lane for this session, unless another process has it.
select pg_try_advisory_lock($1)

-- name: let_go_of_lanes
-- Gives lanes back.
select pg_advisory_unlock(number) from unnest($1::bigint[]) as number
