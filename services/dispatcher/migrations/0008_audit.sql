-- What the conservation audit needs to find messages that WhatsApp accepted and of which no status came; business time.
create index messages_without_status on messages (changed_at)
where state = 'accepted' and rank = 0 and wamid is not null;
