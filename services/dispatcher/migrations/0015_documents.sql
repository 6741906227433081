-- The document that goes with a message; its row in the queue of documents has the same name.
alter table messages add column document_id text;
create index messages_for_document on messages (tenant, line, document_id)
    where state = 'waiting' and reason = 'document_pending';
create index messages_with_document on messages (tenant, line, document_id)
    where state in ('waiting', 'intent', 'uncertain') and document_id is not null;

-- Documents to send, by the line that sends them: fetched from the publisher, checked, and handed to WhatsApp. Instants are
-- machine time. A row is deleted once no message needs it.
create table documents (
    tenant          text not null,
    line            text not null,
    document_id     text not null,
    address         text not null,
    state           text not null default 'waiting' check (state in ('waiting', 'ready', 'refused')),
    reason          text,                    -- why it was refused
    sha256          text,
    requested_at    timestamptz not null,
    due_at          timestamptz not null,
    attempts        integer not null default 0,
    settled_at      timestamptz,
    primary key (tenant, line, document_id)
);
create index documents_due on documents (tenant, due_at) where state = 'waiting';

-- Files that WhatsApp has of a line, by their content. It deletes them after 30 days.
create table uploads (
    tenant          text not null,
    line            text not null,
    sha256          text not null,
    mime            text not null,
    media_id        text not null,
    expires_at      timestamptz not null,
    primary key (tenant, line, sha256)
);
