-- When rules decided on a message, by business time; ``requested_at`` is when it was taken over, so time in Kafka counts too.
alter table messages add column decided_at timestamptz;
