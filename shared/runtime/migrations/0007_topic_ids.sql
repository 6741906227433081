-- The id of the topic that a partition's progress is about: one that is deleted and created again has another.
alter table progress add column topic_id uuid;
