-- name: create_tables
-- Tables like those of rules, in a schema of its own.
create schema floor;
create table floor.inbox (tenant text, source text, id text, seen_at timestamptz not null, primary key (tenant, source, id));
create table floor.progress (topic text, partition int, next_offset bigint not null, primary key (topic, partition));
create table floor.outbox (like rules.outbox including all);
create table floor.chains (like rules.chains including all);
create table floor.messages (like rules.messages including all);
create table floor.last_rules (like rules.last_rules including all);
create table floor.decision_inputs (like rules.decision_inputs including all);
create table floor.recorded_facts (like rules.recorded_facts including all);

-- name: insert_inbox
-- The ids of a batch of events.
insert into inbox (tenant, source, id, seen_at)
select 'bench', 'bench', id, $2 from unnest($1::text[]) as t(id)
on conflict do nothing;

-- name: insert_chains
-- A copy of the sampled chain for each event that matches a rule.
insert into chains (
    chain_id, tenant, rule, subject, revision, key, active, live, tags, people, guards, next_due, changed_at, start_key,
    started_at, document
)
select id, $2, $3, $4, $5, $6, false, false, $7::text[], $8::text[], $9::text[], null, $10, id, $10, $11::jsonb
from unnest($1::text[]) as t(id);

-- name: insert_messages
-- Two messages for each chain, to two people.
insert into messages (message_id, chain_id, person_id, unsent, expires_at)
select message_id, chain_id, person_id, true, $4
from unnest($1::text[], $2::text[], $3::text[]) as t(message_id, chain_id, person_id);

-- name: save_last_rules
-- The rule that last wrote to each person.
insert into last_rules (tenant, person_id, rule)
select distinct $1, person_id, $3 from unnest($2::text[]) as t(person_id)
on conflict (tenant, person_id) do update set rule = excluded.rule;

-- name: insert_inputs
-- The inputs of each decision, of the size of the sampled ones.
insert into decision_inputs (tenant, about, decided_at, recorded_at, document)
select $1, about, $3, $3, $4 from unnest($2::text[]) as t(about);

-- name: insert_facts
-- The work and the two people that each decision read; each is kept once.
insert into recorded_facts (digest, document, read_on)
select distinct digest, $2::bytea, current_date from unnest($1::text[]) as t(digest)
on conflict (digest) do update set read_on = excluded.read_on where recorded_facts.read_on < excluded.read_on;

-- name: insert_outbox
-- The records of a batch: messages and decisions.
insert into outbox (topic, key, value, written_at)
select topic, key, value, $4 from unnest($1::text[], $2::bytea[], $3::bytea[]) as t(topic, key, value);

-- name: update_progress
-- The next offset of each partition.
insert into progress (topic, partition, next_offset)
select 'consonance.events', * from unnest($1::int[], $2::bigint[])
on conflict (topic, partition) do update set next_offset = excluded.next_offset;
