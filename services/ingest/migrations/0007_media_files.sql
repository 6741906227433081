-- Files of inbound messages: what is fetched from WhatsApp, and what became of it. Instants are machine time. An object
-- in the file store is named by object_key, which holds no personal data.
create table media_files (
    tenant          text not null,
    file_id         text not null,
    person_id       text not null,
    line            text not null,
    media_id        text not null,
    declared_mime   text,
    declared_sha256 text,
    traceparent     text,
    received_at     timestamptz not null,
    expires_at      timestamptz not null,
    due_at          timestamptz not null,
    attempts        integer not null default 0,
    state           text not null default 'waiting' check (state in ('waiting', 'stored', 'refused')),
    reason          text,
    object_key      text,
    mime            text,
    size            bigint,
    sha256          text,
    verdict         text,
    settled_at      timestamptz,
    primary key (tenant, file_id)
);
create index media_files_due on media_files (tenant, due_at) where state = 'waiting';
create index media_files_person on media_files (tenant, person_id);
