-- The queue of writes with what is known of each, the tasks that stand for what no mutation can do, the people named in
-- requests, and evidence. Columns due_at and asked_at hold machine time; every other instant business time.

create table writes (
    sequence        bigint generated always as identity primary key,
    tenant          text not null,
    write_id        text not null,
    lane            text not null,
    record          text not null,
    operation       text not null,
    once_key        text,
    request         jsonb not null,
    event_id        text not null,
    correlation_id  text,
    traceparent     text,
    requested_at    timestamptz not null,
    state           text not null default 'queued' check (state in ('queued', 'intent', 'manual', 'settled')),
    attempts        integer not null default 0,
    answer          text check (answer in ('unanswered', 'accepted', 'refused', 'failed')),
    asked_at        timestamptz,
    looks           integer not null default 0,
    before          jsonb,
    unknown_told    boolean not null default false,
    due_at          timestamptz not null,
    outcome         text,
    value           text,
    settled_at      timestamptz,
    unique (tenant, write_id)
);
comment on column writes.lane is 'The partition key: writes of one work (else one record) are carried out one at a time.';
comment on column writes.once_key is 'What may be settled only once, whichever write asks.';
comment on column writes.looks is 'Looks at Consonance in a row that settled nothing; the next waits longer.';
comment on column writes.before is 'What Consonance showed just before the first attempt, by change.';
comment on column writes.value is 'What now stands in Consonance because of this write, where that is one value.';

create index writes_due on writes (due_at, sequence) where state in ('queued', 'intent');
create index writes_lane on writes (lane, sequence) where state in ('queued', 'intent');
create index writes_held on writes (tenant, record, sequence) where state = 'manual';
create index writes_once on writes (tenant, once_key, sequence) where once_key is not null;

create table tasks (
    task_id     bigint generated always as identity primary key,
    tenant      text not null,
    write_id    text not null,
    reason      text not null,
    wanted      jsonb not null,
    said        jsonb not null,
    opened_at   timestamptz not null,
    closed_at   timestamptz,
    note        text,
    unique (tenant, write_id)
);
comment on column tasks.wanted is 'The exact changes to make: what, where, old value, new value.';
comment on column tasks.said is 'The far side''s own words, where it refused.';
create index tasks_open on tasks (task_id) where closed_at is null;

create table people (
    tenant        text not null,
    person_id     text not null,
    contact_id    bigint,
    display_name  text not null,
    erased        boolean not null,
    version       bigint not null,
    primary key (tenant, person_id)
);

create table evidence (
    evidence_id  bigint generated always as identity primary key,
    tenant       text not null,
    record       text not null,
    write_id     text not null,
    operation    text not null,
    outcome      text not null,
    detail       text,
    asked        jsonb not null,
    proof        jsonb not null,
    read_back    jsonb not null,
    note         text,
    recorded_at  timestamptz not null
);
comment on column evidence.proof is 'Terms, rendered text, who, when, wamids and the raw reply, as rules gave them.';
comment on column evidence.read_back is 'Every change with the value before, the value asked for, and what was read.';
create index evidence_record on evidence (tenant, record, evidence_id);

create function evidence_stands() returns trigger language plpgsql as $$
begin
    raise exception 'evidence is append-only';
end
$$;

create trigger evidence_is_append_only before update or delete or truncate on evidence
    for each statement execute function evidence_stands();
