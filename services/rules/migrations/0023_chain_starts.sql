-- Counts the chains of a rule about one subject, so that a rule cannot start itself without end; ``start_key`` is a hash of
-- both. Chains of before are not counted.
alter table chains add column start_key text;
alter table chains add column started_at timestamptz;
create index chains_by_start on chains (tenant, start_key, started_at) where start_key is not null;
