-- name: lock_names
-- Advisory locks in the order given, which is always the sorted one.
select pg_advisory_xact_lock(number) from unnest($1::bigint[]) as number;

-- name: see
-- Which of these are new: a conflict means seen. The caller has removed repeats within the batch.
insert into inbox (tenant, source, id, seen_at)
select tenant, source, id, $4 from unnest($1::text[], $2::text[], $3::text[]) as t(tenant, source, id)
on conflict do nothing
returning source, id;

-- name: leave
-- Records that must leave, in the order they were published.
insert into outbox (topic, key, value, headers, written_at)
select topic, key, value, headers::jsonb, $5
from unnest($1::text[], $2::bytea[], $3::bytea[], $4::text[]) with ordinality as t(topic, key, value, headers, place)
order by place;

-- name: wake
select pg_notify($1, '');

-- name: keep_parked
insert into parked (topic, partition, kafka_offset, key, value, headers, reason, sentence, parked_at)
values ($1, $2, $3, $4, $5, $6::jsonb, $7, $8, $9)
returning id;

-- name: read_progress
select topic, partition, next_offset, caught_up_to from progress
where topic = any($1::text[]) order by topic, partition;

-- name: lock_progress
-- How far these partitions were read, locked in one order.
select topic, partition, next_offset from progress
where (topic, partition) in (select * from unnest($1::text[], $2::int[]))
order by topic, partition
for update;

-- name: move_progress
insert into progress (topic, partition, next_offset)
select * from unnest($1::text[], $2::int[], $3::bigint[])
on conflict (topic, partition) do update set next_offset = excluded.next_offset;

-- name: catch_up
-- Partitions with nothing left to read are caught up to the instant read before their ends were.
insert into progress (topic, partition, next_offset, caught_up_to)
select topic, partition, next_offset, $4 from unnest($1::text[], $2::int[], $3::bigint[]) as t(topic, partition, next_offset)
on conflict (topic, partition) do update set caught_up_to = excluded.caught_up_to
where progress.next_offset = excluded.next_offset
and (progress.caught_up_to is null or progress.caught_up_to < excluded.caught_up_to);

-- name: next_to_leave
select id, topic, key, value, headers::text from outbox order by id limit $1;

-- name: left
delete from outbox where id = any($1::bigint[]);

-- name: outbox_state
select count(*) as waiting, min(written_at) as oldest from (select written_at from outbox order by id limit 10000) as o;

-- name: hold_relay
insert into relay (one, held_until) values (true, $1) on conflict (one) do update set held_until = excluded.held_until;

-- name: relay_held_until
select held_until from relay;

-- name: forget_seen
-- Inbox rows older than a day are forgotten in small batches.
delete from inbox where (tenant, source, id) in (
    select tenant, source, id from inbox where seen_at < $1 order by seen_at limit $2
);
