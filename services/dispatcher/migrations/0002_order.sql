-- One person's messages by one line are a chat and leave in the order they were asked for. `chain` tells which of them
-- belong together: a message that waits for its template holds back only those of its own chain.
alter table messages add column chain text;

-- The open messages of a person, of a chat in the order they were asked for.
drop index messages_of_person;
create index messages_of_person on messages (tenant, person_id, line, sequence)
where state in ('waiting', 'intent', 'uncertain');
