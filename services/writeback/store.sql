-- name: enqueue_writes
-- Adds a batch of requests in their order; a known one is left unchanged.
insert into writes (
    tenant, write_id, ordering_key, record, operation, idempotency_key, request, event_id, correlation_id, traceparent,
    requested_at, due_at
)
select tenant, write_id, ordering_key, record, operation, idempotency_key, request::jsonb, event_id, correlation_id,
    traceparent, requested_at, $12
from unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
    $10::text[], $11::timestamptz[]
) with ordinality as requested (
    tenant, write_id, ordering_key, record, operation, idempotency_key, request, event_id, correlation_id, traceparent,
    requested_at, place
)
order by place
on conflict (tenant, write_id) do nothing;

-- name: save_people
-- Keeps the newest state of each person; an older version changes nothing.
insert into people (tenant, person_id, contact_id, display_name, erased, version, merged_into)
select * from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::boolean[], $6::bigint[], $7::text[])
on conflict (tenant, person_id) do update
set contact_id = excluded.contact_id, display_name = excluded.display_name, erased = excluded.erased,
    version = excluded.version, merged_into = excluded.merged_into
where people.version < excluded.version;

-- name: save_files
-- Keeps the report of each file; a repeated report changes nothing.
insert into media_files (tenant, file_id, person_id, verdict, url, mime, size, reported_at)
select tenant, file_id, person_id, verdict, url, mime, size, $8
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[])
    as reported (tenant, file_id, person_id, verdict, url, mime, size)
on conflict do nothing;

-- name: fetch_files
-- The reports of these files, as far as there are any; not of those that a later write ($3) adds to the record.
select f.file_id, f.person_id, f.verdict, f.url, f.mime, f.size
from unnest($2::text[], $3::text[]) as wanted (file_id, later_write)
join media_files f on f.tenant = $1 and f.file_id = wanted.file_id
where (select true from writes w where w.tenant = $1 and w.write_id = wanted.later_write limit 1) is null;

-- name: await_files
-- A write goes on without these files.
insert into media_awaited (tenant, file_id, write_id) select $1, file_id, $2 from unnest($3::text[]) as missing (file_id)
on conflict do nothing;

-- name: take_awaiting
-- The writes that went on without these files; each is returned once.
delete from media_awaited a
using writes w
where (a.tenant, a.file_id) in (select * from unnest($1::text[], $2::text[]))
  and w.tenant = a.tenant and w.write_id = a.write_id
returning a.tenant, a.file_id, w.ordering_key, w.request;

-- name: save_request
-- A write that is not at rest, with the links of its files.
update writes set request = $3::jsonb where tenant = $1 and write_id = $2 and state = any ($4);

-- name: notify_workers
-- Wakes the worker of every replica at commit.
select pg_notify('stet_writeback_queue', '');

-- name: fetch_due
-- The first due write of every ordering key that is not in $2; a write behind an open manual task of its record is
-- skipped, and blocks no other. Where an operator has paused the tenant no write begins; one under way is finished. What
-- stands before a write is found by its key: a join that is planned while few writes wait reads all that wait. No write
-- waits for an hour or longer: where ``due_at`` is further ahead, the clock has been set back since, and the write is due now.
-- The index by ``due_at`` is for this query alone (0011_due_writes.sql).
select w.tenant, w.write_id, w.ordering_key
from writes w
where w.state in ('queued', 'intent')
  and w.due_at > '-infinity'
  and (w.due_at <= $1 or w.due_at > $1 + interval '1 hour')
  and w.ordering_key <> all ($2::text[])
  and (w.state = 'intent' or not exists (select from pauses p where p.tenant = w.tenant))
  and (
      select true from writes task
      where task.state = 'manual' and task.tenant = w.tenant and task.record = w.record and task.sequence < w.sequence
      limit 1
  ) is null
  and (
      select true from writes earlier
      where earlier.state in ('queued', 'intent') and earlier.ordering_key = w.ordering_key
        and earlier.sequence < w.sequence
        and (
            select true from writes task
            where task.state = 'manual' and task.tenant = earlier.tenant and task.record = earlier.record
              and task.sequence < earlier.sequence
            limit 1
        ) is null
      limit 1
  ) is null
order by w.due_at, w.sequence
limit $3;

-- name: fetch_write
-- One write that is not at rest, with everything known about it.
select sequence, tenant, write_id, ordering_key, record, operation, idempotency_key, request, event_id, correlation_id,
    traceparent, attempts, answer, asked_at, reads, failed_reads, is_unknown_published, before
from writes
where tenant = $1 and write_id = $2 and state in ('queued', 'intent');

-- name: fetch_others
-- Some of the last writes about other records, one of each, those of the same operation ($3) first: whether their records
-- can be read shows whether it is one record that cannot, all of an operation, or all.
select sequence, tenant, write_id, ordering_key, record, operation, idempotency_key, request, event_id, correlation_id,
    traceparent, attempts, answer, asked_at, reads, failed_reads, is_unknown_published, before
from (
    select *, row_number() over (partition by operation = $3 order by sequence desc) as place
    from (
        select distinct on (record, operation = $3) * from (
            select * from writes order by sequence desc limit 1000
        ) as latest
        where tenant = $1 and record <> $2
        order by record, operation = $3, sequence desc
    ) as records
) as others
where place <= case when operation = $3 then 4 else 2 end
order by operation = $3 desc, sequence desc;

-- name: fetch_value_by_hand
-- The value that a person entered by hand under an idempotency key.
select value
from writes
where tenant = $1 and idempotency_key = $2 and write_id <> $3 and outcome = 'done_by_hand'
order by sequence desc
limit 1;

-- name: fetch_decision
-- The decision in force about a rights request, as it was recorded.
select value
from writes
where tenant = $1 and idempotency_key = $2 and outcome in ('verified', 'already_applied', 'done_by_hand')
order by sequence desc
limit 1;

-- name: fetch_contact
-- The Consonance contact of a person, where known; who was a visitor may have been found to be a contact since.
with recursive path as (
    select contact_id, erased, merged_into, 0 as merges from people where tenant = $1 and person_id = $2
    union all
    select p.contact_id, p.erased, p.merged_into, path.merges + 1
    from path join people p on p.tenant = $1 and p.person_id = path.merged_into
    where path.merges < 20
)
select contact_id from path where contact_id is not null and not erased order by merges desc limit 1;

-- name: start_attempt
-- Commits the intent to write before the request; no row where another process has moved the write on.
update writes
set state = $6, attempts = attempts + 1, answer = 'unanswered', asked_at = $3, reads = 0, failed_reads = 0,
    before = coalesce(before, $5::jsonb)
where tenant = $1 and write_id = $2 and attempts = $4 and state = any ($7)
returning attempts;

-- name: renew_attempt
-- Another request of the attempt leaves now; no row where another process has moved the write on.
update writes
set asked_at = $4
where tenant = $1 and write_id = $2 and attempts = $3 and state = any ($5)
returning attempts;

-- name: record_answer
-- The answer of the attempt, and the last moment it was in flight.
update writes
set answer = $4, asked_at = $5
where tenant = $1 and write_id = $2 and attempts = $3 and state = any ($6);

-- name: withdraw_first_attempt
-- The request never left: the attempt did not happen.
update writes
set state = $5, attempts = 0, answer = null, asked_at = null, before = null, due_at = $4
where tenant = $1 and write_id = $2 and attempts = $3 and state = any ($6);

-- name: withdraw_retry
-- The request never left: the attempt before it, which failed, is the latest again.
update writes
set state = $5, attempts = attempts - 1, answer = 'failed', due_at = $4
where tenant = $1 and write_id = $2 and attempts = $3 and state = any ($6);

-- name: postpone
-- The next read is later; no row where another process has moved the write on.
update writes
set due_at = $3, reads = reads + 1, failed_reads = $4, is_unknown_published = is_unknown_published or $5
where tenant = $1 and write_id = $2 and attempts = $7 and state = any ($6)
returning sequence;

-- name: defer
-- After an unexpected error: the next try is later, and everything known stays unchanged.
update writes
set due_at = $3, reads = reads + 1
where tenant = $1 and write_id = $2 and state = any ($4);

-- name: settle
-- The write is at rest with its outcome; no row where another process was first.
update writes
set state = $3, outcome = $4, value = $5, settled_at = $6
where tenant = $1 and write_id = $2 and attempts = $7 and state = any ($8)
returning sequence;

-- name: open_task
-- A person has to do the write.
insert into tasks (tenant, write_id, reason, changes, error_messages, opened_at)
values ($1, $2, $3, $4::jsonb, $5::jsonb, $6);

-- name: list_open_tasks
-- Every open manual task, oldest first.
select t.task_id, t.opened_at, t.reason, w.operation, w.record
from tasks t
join writes w using (tenant, write_id)
where t.closed_at is null
order by t.task_id;

-- name: fetch_task
-- One task with its request, open or closed.
select t.task_id, t.opened_at, t.closed_at, t.reason, t.changes, t.error_messages, t.note, w.tenant, w.write_id,
    w.ordering_key, w.record, w.operation, w.request, w.event_id, w.correlation_id, w.traceparent, w.value
from tasks t
join writes w using (tenant, write_id)
where t.task_id = $1;

-- name: close_task
-- A person did it, or dropped it; no row where the task was closed before.
update tasks set closed_at = $2, note = $3 where task_id = $1 and closed_at is null returning write_id;

-- name: settle_by_hand
-- The write of a closed task is at rest; the writes behind it go on. Where it was not done, there is no value.
update writes
set state = $4, outcome = $6, settled_at = $3, value = case $6 when 'done_by_hand' then value end
where tenant = $1 and write_id = $2 and state = any ($5);

-- name: fetch_backlog
-- For operators and the development clock: writes that can go on, writes behind a task, open tasks, the oldest reply.
select
    count(*) filter (where w.state in ('queued', 'intent') and not blocked.behind_task) as pending,
    count(*) filter (where w.state in ('queued', 'intent') and blocked.behind_task) as blocked,
    count(*) filter (where w.state = 'manual') as manual,
    min(w.requested_at) filter (where w.state in ('queued', 'intent')) as oldest
from writes w
cross join lateral (
    select exists (
        select from writes task
        where task.state = 'manual' and task.tenant = w.tenant and task.record = w.record
          and task.sequence < w.sequence
    ) as behind_task
) blocked
where w.state in ('queued', 'intent') or w.state = 'manual';

-- name: open_tasks_by_operation
-- How many manual tasks of each operation are open, and when the oldest was opened.
select w.operation, count(*) as tasks, min(t.opened_at) as oldest
from tasks t
join writes w using (tenant, write_id)
where t.closed_at is null
group by w.operation;

-- name: lock_ordering_key
-- Takes the advisory lock of an ordering key for this session, unless another session holds it.
select pg_try_advisory_lock($1);

-- name: unlock_ordering_keys
-- Releases advisory locks of this session.
select pg_advisory_unlock(number) from unnest($1::bigint[]) as number;
