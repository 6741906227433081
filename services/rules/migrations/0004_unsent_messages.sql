-- To whom a message of ours goes, and whether nothing proves yet that it went: a STOP takes such messages back, also those
-- of chains that have ended, and answers of the house, which belong to no chain.
alter table messages alter column chain_id drop not null;
alter table messages add column person_id text;
alter table messages add column unsent boolean not null default false;
create index messages_unsent on messages (person_id) where unsent;
