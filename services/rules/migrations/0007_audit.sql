-- What the conservation audit needs to find messages and writes that were requested and of which nothing came back.
-- Rows from before have nulls, and are not audited. Business time.
alter table messages add column expires_at timestamptz;
create index messages_unreported on messages (expires_at) where unsent and expires_at is not null;
alter table writes add column requested_at timestamptz;
alter table writes add column outcome text;
create index writes_unreported on writes (requested_at) where outcome is null and requested_at is not null;
create index waiting_until on waiting (until);
create index waiting_event on waiting (event_id);
