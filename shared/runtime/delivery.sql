-- name: lock_names
-- Advisory locks in the order given, which is always the sorted one; a shared one may be held by several transactions.
select case when shared then pg_advisory_xact_lock_shared(number)::text else pg_advisory_xact_lock(number)::text end
from unnest($1::bigint[], $2::bool[]) as lock (number, shared);

-- name: try_names
-- The same without waiting; whether all were free.
select bool_and(
    case when shared then pg_try_advisory_xact_lock_shared(number) else pg_try_advisory_xact_lock(number) end
)
from unnest($1::bigint[], $2::bool[]) as lock (number, shared);

-- name: insert_inbox
-- Inserts a batch into the inbox and returns the places of those that were in it already. Names travel as JSON, since the
-- client takes a microsecond for each element of an array.
select enter($1, $2, $3, $4, $5) as place;

-- name: insert_parked
-- No row comes back where the same event is parked already.
insert into parked (topic, partition, kafka_offset, event, key, value, headers, reason, sentence, parked_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
on conflict (event) where state = 'parked' do nothing
returning id;

-- name: begin_progress
-- Partitions never read before begin at their oldest record.
insert into progress (topic, partition, topic_id, next_offset)
select * from unnest($1::text[], $2::int[], $3::uuid[], $4::bigint[])
on conflict do nothing;

-- name: adopt_topic_ids
-- Progress that was stored before topics had ids belongs to the topic that exists now.
update progress p set topic_id = g.topic_id
from unnest($1::text[], $2::int[], $3::uuid[]) as g(topic, partition, topic_id)
where (p.topic, p.partition) = (g.topic, g.partition) and p.topic_id is null and g.topic_id is not null;

-- name: read_progress
select topic, partition, next_offset, caught_up_to, topic_id from progress
where (topic, partition) in (select * from unnest($1::text[], $2::int[]));

-- name: claim_progress
-- Moves partitions on, locked in their one order, where they stand as expected; fewer rows than asked: another replica read on.
with given as (
    select * from unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[]) as g(topic, partition, expected, after)
), held as (
    select p.topic, p.partition from progress p join given g using (topic, partition)
    where p.next_offset = g.expected
    order by p.topic, p.partition
    for update of p
)
update progress p set next_offset = g.after
from given g join held h using (topic, partition)
where (p.topic, p.partition) = (g.topic, g.partition);

-- name: catch_up
-- Partitions with nothing left to read are caught up to the instant read before their ends were. One that a batch holds
-- is passed over: it is not idle. Gives those that are caught up now. An instant more than an hour ahead was noted by a clock
-- that has been set back since: until it comes, a due step would not wait for what lies unread.
with given as (
    select * from unnest($1::text[], $2::int[], $3::bigint[]) as g(topic, partition, read_to)
), held as (
    select p.topic, p.partition from progress p join given g using (topic, partition)
    where p.next_offset = g.read_to
        and (p.caught_up_to is null or p.caught_up_to < $4 or p.caught_up_to > $4 + interval '1 hour')
    order by p.topic, p.partition
    for update of p skip locked
), moved as (
    update progress p set caught_up_to = $4 from held h where (p.topic, p.partition) = (h.topic, h.partition)
    returning p.topic, p.partition
)
select topic, partition from moved
union
select p.topic, p.partition from progress p join given g using (topic, partition)
where p.next_offset = g.read_to and p.caught_up_to >= $4;

-- name: fetch_outbox
-- The oldest records, as many as fit into $2 bytes, but at least one; those of some topics must wait.
select id, topic, key, value, headers from (
    select *, sum(octet_length(value)) over (order by id) - octet_length(value) as before
    from (select * from outbox where topic <> all($3::text[]) order by id limit $1) as oldest
) as measured
where before < $2
order by id;

-- name: delete_relayed
delete from outbox where id = any($1::bigint[]);

-- name: outbox_state
select count(*) as waiting, min(written_at) as oldest from (select written_at from outbox order by id limit 10000) as o;

-- name: hold_relay
insert into relay (one, held_until) values (true, $1) on conflict (one) do update set held_until = excluded.held_until;

-- name: write_readiness
-- A readiness probe commits this row, to prove that the database takes writes.
insert into readiness (one, written_at) values (true, $1) on conflict (one) do update set written_at = excluded.written_at;

-- name: relay_held_until
select held_until from relay;

-- name: delete_old_inbox
-- At most $2 inbox rows of one class that are older than $1; returns how many.
with gone as (
    delete from inbox where (tenant, source, id) in (
        select tenant, source, id from inbox where brief = $3 and seen_at < $1 limit $2
    ) returning 1
)
select count(*) from gone;

-- name: delete_old_parked
-- At most $2 parked records that were settled before $1; returns how many.
with gone as (
    delete from parked where id in (
        select id from parked where state <> 'parked' and coalesce(settled_at, parked_at) < $1 limit $2
    ) returning 1
)
select count(*) from gone;

-- name: count_parked
select reason, count(*) as records, min(parked_at) as oldest from parked where state = 'parked' group by reason;
