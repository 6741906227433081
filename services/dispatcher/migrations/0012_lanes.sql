-- The lane that rules asked for, where a more urgent message of the same chat raised the message to its own lane.
alter table messages add column requested_lane smallint;
