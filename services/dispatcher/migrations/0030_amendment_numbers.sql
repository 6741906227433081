-- By the name of each field of a message that was amended, the number of the amendment it has now: an older one that comes
-- later changes nothing. Null: none had a number.
alter table messages add column amended jsonb;
