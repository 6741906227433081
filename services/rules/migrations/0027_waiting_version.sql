-- The version of the state of its people that an event waits for, where an earlier one is known.
alter table waiting add column version bigint;
