-- The id that a person was merged into, as ingest last said, and the id that the person has now after all merges (null: their
-- own). What belongs to a former id belongs to that one.
alter table people add column merged_into text;
alter table people add column current_id text;
create index people_by_merge on people (tenant, merged_into) where merged_into is not null;
