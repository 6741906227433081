-- The tags of the facts by which the `unless` of a message is judged that was requested and has not gone: a change of them may
-- withdraw it, also where its chain has ended. Chains of earlier versions have none.
alter table chains add column depends_on text[] not null default '{}';
create index chains_by_fact on chains using gin (depends_on) where depends_on <> '{}';
