-- Why a loop cannot handle a row: it is left alone, counted, and looked at by a person. Null for all others.
alter table messages add column set_aside text;
create index messages_set_aside on messages (tenant) where set_aside is not null;
