-- The work whose metadata a write changes: the change that Consonance reports then is ours, also when the chain has ended
-- (docs/glossary.md, own write). Writes of earlier versions have none.
alter table writes add column work_id bigint;
create index writes_by_work on writes (work_id) where work_id is not null;
