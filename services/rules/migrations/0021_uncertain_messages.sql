-- Whether the send of a message is uncertain: it may go again, so a STOP takes it back like one that waits. ``unsent`` says
-- that nothing is known of it at all.
alter table messages add column uncertain boolean not null default false;
create index messages_uncertain on messages (person_id) where uncertain;
