-- Whether a chain has a message of which nothing is known since it was requested, so that those of an earlier rulebook are found
-- among them without looking at each. What an earlier version begins during a rollout has none.
alter table chains add column unsent boolean not null default false;
update chains set unsent = true where chain_id in (select chain_id from messages where unsent and chain_id is not null);
create index chains_unsent on chains (tenant, (coalesce(reviewed, revision))) where unsent;
