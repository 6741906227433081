-- What a sender keeps that loses nothing: a row for each message, how far Kafka was read, and the events that must leave.

-- name: create_tables
create schema if not exists floor;
create table if not exists floor.sends (
    message_id text primary key, sequence bigint generated always as identity, state text not null,
    request bytea not null, wamid text
);
create index if not exists sends_due on floor.sends (sequence) where state = 'waiting';
create table if not exists floor.read_offsets (partition int primary key, next_offset bigint not null);
create table if not exists floor.events (
    id bigint generated always as identity primary key, key bytea not null, value bytea not null
);

-- name: insert_sends
insert into sends (message_id, state, request)
select m.message_id, 'waiting', m.request from unnest($1::text[], $2::bytea[]) as m (message_id, request)
on conflict do nothing;

-- name: save_offsets
insert into read_offsets select * from unnest($1::int[], $2::bigint[])
on conflict (partition) do update set next_offset = excluded.next_offset;

-- name: claim_sends
with due as (
    select message_id from sends where state = 'waiting' order by sequence limit $1
)
update sends s set state = 'intent' from due where s.message_id = due.message_id returning s.message_id;

-- name: accept_sends
update sends s set state = 'accepted', wamid = a.wamid
from unnest($1::text[], $2::text[]) as a (message_id, wamid) where s.message_id = a.message_id;

-- name: fetch_events
select id, key, value from events order by id limit $1;

-- name: delete_events
delete from events where id = any ($1::bigint[]);
