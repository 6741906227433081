-- name: queued_keys
-- Keys with events already waiting: later ones of theirs queue behind.
select distinct key from waiting where key = any($1::text[]);

-- name: queue
insert into waiting (tenant, key, event_id, value, people, work_id, wamid, since, until)
select $1, row ->> 'key', row ->> 'event_id', decode(row ->> 'value', 'base64'),
    array(select jsonb_array_elements_text(row -> 'people')), (row ->> 'work_id')::bigint, row ->> 'wamid',
    (row ->> 'since')::timestamptz, (row ->> 'until')::timestamptz
from unnest($2::jsonb[]) as t(row);

-- name: any_waiting
-- What is asked all the time is asked cheaply: planning the next query costs more than its mostly empty answer.
select exists (select from waiting);

-- name: ready_keys
-- Keys whose first event need not wait any more: its time is up, or all it misses is known.
select w.key from waiting w
where w.place = (select min(place) from waiting first where first.key = w.key)
and w.key <> all($3::text[])
and (
    w.until <= $1
    or (
        not exists (
            select 1 from unnest(w.people) as missing
            where not exists (select 1 from people p where p.tenant = w.tenant and p.person_id = missing)
        )
        and (w.work_id is null or exists (select 1 from works where tenant = w.tenant and work_id = w.work_id))
        and (w.wamid is null or exists (select 1 from messages where wamid = w.wamid))
    )
)
order by w.place
limit $2;

-- name: queue_of
-- What waits under one key, in order, with whether each still misses something.
select w.place, w.value, w.until,
    exists (
        select 1 from unnest(w.people) as missing
        where not exists (select 1 from people p where p.tenant = w.tenant and p.person_id = missing)
    )
    or (w.work_id is not null and not exists (select 1 from works where tenant = w.tenant and work_id = w.work_id))
    or (w.wamid is not null and not exists (select 1 from messages where wamid = w.wamid)) as misses
from waiting w where w.key = $1 order by w.place limit $2;

-- name: leave_queue
delete from waiting where place = any($1::bigint[]);

-- name: hurry
-- Somebody whose events these are must be heard at once.
update waiting set until = $2 where key = any($1::text[]) and until > $2;

-- name: forget_seen_event
-- What is parked out of the queue entered the inbox when it came; its replay must not be taken for a repetition.
delete from inbox where tenant = $1 and source = $2 and id = $3;

-- name: queue_state
-- The next instant a wait is up, how many wait, and since when the oldest.
select min(until) as next_due, count(*) as waiting, min(since) as oldest from waiting;
