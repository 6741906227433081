-- name: make
-- Tables as rules has them, in a schema of the floor's own.
create schema floor;
create table floor.inbox (tenant text, source text, id text, seen_at timestamptz not null, primary key (tenant, source, id));
create table floor.progress (topic text, partition int, next_offset bigint not null, primary key (topic, partition));
create table floor.outbox (like rules.outbox including all);
create table floor.chains (like rules.chains including all);
create table floor.messages (like rules.messages including all);

-- name: see
insert into inbox (tenant, source, id, seen_at)
select 'bench', 'bench', id, $2 from unnest($1::text[]) as t(id)
on conflict do nothing;

-- name: keep_chains
-- A row as ours was found to be, for each event a rule speaks of.
insert into chains (
    chain_id, tenant, rule, subject, revision, key, active, live, tags, people, guards, next_due, changed_at, document
)
select id, $2, $3, $4, $5, $6, false, false, $7::text[], $8::text[], $9::text[], null, $10, $11::jsonb
from unnest($1::text[]) as t(id);

-- name: keep_messages
insert into messages (message_id, chain_id)
select message_id, chain_id from unnest($1::text[], $2::text[]) as t(message_id, chain_id);

-- name: leave
insert into outbox (topic, key, value, written_at)
select topic, key, value, $4 from unnest($1::text[], $2::bytea[], $3::bytea[]) as t(topic, key, value);

-- name: move_progress
insert into progress (topic, partition, next_offset)
select 'consonance.events', * from unnest($1::int[], $2::bigint[])
on conflict (topic, partition) do update set next_offset = excluded.next_offset;
