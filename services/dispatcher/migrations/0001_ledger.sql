-- Who people are to WhatsApp, as ingest last said.
create table people (
    tenant text not null,
    person_id text not null,
    phone text,
    bsuid text,
    version bigint not null,
    primary key (tenant, person_id)
);

-- The newest message of a person to a line; it opens the customer service window (business time).
create table windows (
    tenant text not null,
    line text not null,
    person_id text not null,
    opened_at timestamptz not null,
    primary key (tenant, line, person_id)
);

-- Templates of which WhatsApp said anything but "approved" last.
create table templates (
    tenant text not null,
    name text not null,
    language text not null,
    state text not null,
    said_at timestamptz not null,
    primary key (tenant, name, language)
);

-- The queue and the ledger: one row per message, for good. Words are those of states.py.
create table messages (
    tenant text not null,
    message_id text not null,
    sequence bigint generated always as identity,
    person_id text not null,
    line text not null,
    lane smallint not null,
    say text not null,                       -- the wording's name, for people
    rule text,
    state text not null,
    reason text,
    spoken json not null,
    button_ids text[] not null,
    template_name text,
    template_language text,
    resend text not null,
    requested_at timestamptz not null,
    expires_at timestamptz not null,
    not_before timestamptz not null,         -- business time
    hold_until timestamptz,                  -- machine time
    lease_until timestamptz,                 -- machine time; of the newest attempt
    changed_at timestamptz not null,         -- business time of the newest step
    attempts integer not null default 0,
    wording text,
    template_only boolean not null default false,
    wamid text,
    rank smallint not null default 0,
    failed_attempt integer not null default 0,
    failed_code integer,
    withdrawal text,
    request_event text not null,
    correlation_id text,
    traceparent text,
    primary key (tenant, message_id)
);

create index messages_due on messages (tenant, line, lane, not_before, sequence) where state = 'waiting';
create index messages_expiring on messages (expires_at) where state = 'waiting';
create index messages_of_person on messages (tenant, person_id) where state in ('waiting', 'intent', 'uncertain');
create index messages_hoping on messages (tenant)
where state = 'waiting' and reason in ('unknown_person', 'template_paused');
create index messages_open on messages (state) where state in ('intent', 'uncertain');

-- A withdrawal that came before its message.
create table withdrawals (
    tenant text not null,
    message_id text not null,
    reason text not null,
    at timestamptz not null,
    primary key (tenant, message_id)
);

-- Every request begun: written before it leaves, and ended by its answer or by what proves it.
create table attempts (
    tenant text not null,
    message_id text not null,
    attempt integer not null,
    wording text not null,
    begun_at timestamptz not null,           -- business time
    machine_at timestamptz not null,
    lease_until timestamptz not null,        -- machine time
    ending text,
    ended_at timestamptz,                    -- business time
    wamid text,
    code integer,
    primary key (tenant, message_id, attempt)
);

create index attempts_by_wamid on attempts (tenant, wamid) where wamid is not null;
create index attempts_by_time on attempts (begun_at);

-- Statuses whose message is not known yet: their receipt is still to be committed, or they are somebody else's.
create table early_statuses (
    tenant text not null,
    wamid text not null,
    status text not null,
    at timestamptz not null,
    code integer,
    callback text,
    event text not null,
    kept_at timestamptz not null,            -- business time
    primary key (tenant, wamid, status)
);

-- The span, in machine time, over which the newest heartbeat of each account vouches for its webhooks.
create table streams (
    tenant text not null,
    account text not null,
    whole_since timestamptz not null,
    whole_until timestamptz not null,
    primary key (tenant, account)
);
