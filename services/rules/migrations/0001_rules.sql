-- What rules keeps. Documents are JSON as the contracts and the chain model write them; columns beside them are for finding.

create table works (
    tenant text not null,
    work_id bigint not null,
    document jsonb not null,
    primary key (tenant, work_id)
);

create table people (
    tenant text not null,
    person_id text not null,
    document jsonb not null,
    primary key (tenant, person_id)
);

-- The newest state of each person's consent; consent_ledger keeps every change with the message that proves it.
create table consent (
    tenant text not null,
    person_id text not null,
    document jsonb not null,
    primary key (tenant, person_id)
);

create table consent_ledger (
    entry bigint generated always as identity primary key,
    tenant text not null,
    person_id text not null,
    document jsonb not null,
    recorded_at timestamptz not null
);

create table rights_records (
    tenant text not null,
    record_id text not null,
    open_requests text[] not null,
    document jsonb not null,
    primary key (tenant, record_id)
);
create index rights_records_by_request on rights_records using gin (open_requests);

create table last_rules (
    tenant text not null,
    person_id text not null,
    rule text not null,
    primary key (tenant, person_id)
);

create table acquisitions (
    tenant text not null,
    person_id text not null,
    reference text,
    primary key (tenant, person_id)
);

create table chains (
    chain_id text primary key,
    tenant text not null,
    rule text not null,
    subject text not null,
    revision text not null,
    key text not null,
    active boolean not null,
    live boolean not null,
    tags text[] not null,
    people text[] not null,
    guards text[] not null,
    next_due timestamptz,
    changed_at timestamptz not null,
    document jsonb not null
);
create unique index one_active_chain on chains (tenant, rule, subject) where active;
create index chains_due on chains (next_due) where next_due is not null;
create index chains_by_tag on chains using gin (tags) where live;
create index chains_by_person on chains using gin (people) where live;

-- Which chain a message of ours belongs to, and WhatsApp's id for it once known.
create table messages (
    message_id text primary key,
    chain_id text not null,
    wamid text
);
create index messages_by_wamid on messages (wamid) where wamid is not null;

create table writes (
    write_id text primary key,
    chain_id text not null
);

-- Events that name a person or a work rules has not heard of yet, or quote a message it does not know, and what queues behind them.
create table waiting (
    place bigint generated always as identity primary key,
    tenant text not null,
    key text not null,
    event_id text not null,
    value bytea not null,
    people text[] not null,
    work_id bigint,
    wamid text,
    since timestamptz not null,
    until timestamptz not null
);
create index waiting_by_key on waiting (key, place);

-- Rulebooks by content, so that a chain keeps the steps it started with after the files change.
create table rulebooks (
    revision text primary key,
    files jsonb not null,
    first_seen timestamptz not null
);
