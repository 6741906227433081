-- The id that a person was merged into, as ingest last said: who confirmed something may be a contact by now.
alter table people add column merged_into text;
