-- name: create_tables
-- Tables like those of rules, in a schema of its own.
create schema floor;
create table floor.inbox (tenant text, source text, id text, seen_at timestamptz not null, primary key (tenant, source, id));
create table floor.progress (topic text, partition int, next_offset bigint not null, primary key (topic, partition));
create table floor.outbox (like rules.outbox including all);
create table floor.chains (like rules.chains including all);
create table floor.messages (like rules.messages including all);

-- name: insert_inbox
-- The ids of a batch of events.
insert into inbox (tenant, source, id, seen_at)
select 'bench', 'bench', id, $2 from unnest($1::text[]) as t(id)
on conflict do nothing;

-- name: insert_chains
-- A copy of the sampled chain for each event that matches a rule.
insert into chains (
    chain_id, tenant, rule, subject, revision, key, active, live, tags, people, guards, next_due, changed_at, document
)
select id, $2, $3, $4, $5, $6, false, false, $7::text[], $8::text[], $9::text[], null, $10, $11::jsonb
from unnest($1::text[]) as t(id);

-- name: insert_messages
-- Two messages for each chain.
insert into messages (message_id, chain_id)
select message_id, chain_id from unnest($1::text[], $2::text[]) as t(message_id, chain_id);

-- name: insert_outbox
-- The records of a batch: messages and decisions.
insert into outbox (topic, key, value, written_at)
select topic, key, value, $4 from unnest($1::text[], $2::bytea[], $3::bytea[]) as t(topic, key, value);

-- name: update_progress
-- The next offset of each partition.
insert into progress (topic, partition, next_offset)
select 'consonance.events', * from unnest($1::int[], $2::bigint[])
on conflict (topic, partition) do update set next_offset = excluded.next_offset;
