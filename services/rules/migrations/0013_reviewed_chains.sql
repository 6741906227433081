-- The rulebook under which it was last considered what the change of its rule means for a chain (on_change).
alter table chains add column reviewed text;
create index chains_to_review on chains (tenant, (coalesce(reviewed, revision))) where active;
