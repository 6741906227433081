-- Evidence as one hash chain for each record, its contents sealed with a key for each person. Erasing a person destroys
-- the key: the chain stays valid, and what the key sealed can never be read again.
--
-- Rows of the older table `evidence` are moved into the chains by the service; a version that runs beside this one may
-- still insert there.

create table evidence_keys (
    tenant                  text not null,
    person_id               text not null,
    key_id                  text not null unique,
    key                     bytea,
    created_at              timestamptz not null,
    erasure_requested_at    timestamptz,
    destroyed_at            timestamptz,
    primary key (tenant, person_id),
    check ((key is null) = (destroyed_at is not null))
);
comment on table evidence_keys is
    'The key that seals what is about one person; the row without a person seals what is about no person.';
comment on column evidence_keys.key_id is 'Random: the chain names it, and not the person.';
comment on column evidence_keys.key is '256 bits; null once it is destroyed, for ever.';
comment on column evidence_keys.erasure_requested_at is 'Set while a legal hold keeps the key from being destroyed.';
create index evidence_keys_waiting on evidence_keys (tenant, key_id)
    where erasure_requested_at is not null and destroyed_at is null;

create table evidence_chains (
    tenant      text not null,
    record      text not null,
    length      bigint not null,
    last_hash   text not null,
    primary key (tenant, record)
);
comment on table evidence_chains is 'The end of the chain of each record; its row is locked while entries are appended.';

create table evidence_entries (
    tenant      text not null,
    record      text not null,
    sequence    bigint not null,
    entry_id    text not null,
    write_id    text,
    outcome     text,
    key_id      text not null,
    header      text not null,
    hash        text not null,
    sealed      text,
    recorded_at timestamptz not null,
    primary key (tenant, record, sequence),
    unique (tenant, entry_id)
);
comment on column evidence_entries.header is 'JSON, byte by byte what `hash` is the SHA-256 of; it holds the hash before it.';
comment on column evidence_entries.sealed is 'Base64 of 12 bytes of nonce and what AES-256-GCM made of the content. Null: there was no key.';
create index evidence_entries_write on evidence_entries (tenant, write_id) where write_id is not null;
create index evidence_entries_key on evidence_entries (key_id);

create trigger evidence_entries_are_append_only before update or delete or truncate on evidence_entries
    for each statement execute function reject_evidence_change();

create table evidence_holds (
    hold_id         bigint generated always as identity primary key,
    tenant          text not null,
    record          text not null,
    since           timestamptz not null,
    who             text not null,
    reason          text not null,
    released_at     timestamptz,
    released_by     text,
    release_reason  text
);
comment on table evidence_holds is 'Legal holds: while one stands, no key that seals an entry of the record is destroyed.';
create unique index evidence_holds_standing on evidence_holds (tenant, record) where released_at is null;
create index evidence_holds_listed on evidence_holds (tenant, since, hold_id);

-- Moving a row of the older table deletes it there; nothing else may.
create or replace function reject_evidence_change() returns trigger language plpgsql as $$
begin
    if tg_table_name = 'evidence' and tg_op = 'DELETE' and current_setting('stet.moves_evidence', true) = 'on' then
        return null;
    end if;
    raise exception 'evidence is append-only';
end
$$;

create index people_merged on people (tenant, merged_into) where merged_into is not null;
