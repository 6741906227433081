-- What deleting by age finds its rows by.
create index chains_ended on chains (changed_at) where not active and not live;
create index messages_by_chain on messages (chain_id) where chain_id is not null;
create index messages_without_chain on messages (expires_at) where chain_id is null;
create index writes_by_chain on writes (chain_id);
