-- Which revision of the rules decides, and what is tried beside it. Instants are machine time.
alter table rulebooks add column commit text;

-- The log of activations: the newest row of a tenant is in force. Numbers are drawn under an advisory lock, so that they are
-- committed in their order.
create table rulebook_activations (
    number bigint generated always as identity primary key,
    tenant text not null,
    revision text not null references rulebooks,
    commit text,
    activated_at timestamptz not null,
    cause text not null check (cause in ('source', 'promoted')),
    who text not null
);
create index rulebook_activations_newest on rulebook_activations (tenant, number);

-- From which offset on a partition is decided by an activation or a later one.
create table rulebook_switch_points (
    topic text not null,
    partition int not null,
    activation bigint not null,
    from_offset bigint not null,
    primary key (topic, partition, activation)
);

-- What the source of each replica held when it was last read: `revision` the last that could be used, `activation` where in
-- the log the replica has found it, `refused` the revision that could not be used, with its first faults.
create table rulebook_sources (
    tenant text not null,
    replica text not null,
    revision text,
    commit text,
    activation bigint,
    refused text,
    faults text[] not null default '{}',
    read_at timestamptz not null,
    primary key (tenant, replica)
);

-- A revision that is tried: as a shadow it decides beside and nothing comes of it, as a canary it decides for a share of the
-- works, or for imprints. It ends by an operator, or by itself once more was observed than a bound allows.
create table rulebook_trials (
    number bigint generated always as identity primary key,
    tenant text not null,
    kind text not null check (kind in ('shadow', 'canary')),
    revision text not null references rulebooks,
    commit text,
    share double precision not null check (share between 0 and 1),
    imprints bigint[] not null default '{}',
    max_opt_outs int not null,
    max_failures int not null,
    max_disagreements int not null,
    started_at timestamptz not null,
    who text not null,
    ended_at timestamptz,
    result text check (result in ('promoted', 'aborted', 'turned_back', 'replaced')),
    cause text
);
create unique index one_open_trial on rulebook_trials (tenant, kind) where ended_at is null;

-- What was observed of a trial, once for each kind and event; `detail` holds no address and no text.
create table rulebook_trial_observations (
    trial bigint not null references rulebook_trials on delete cascade,
    kind text not null check (kind in ('opt_out', 'failure', 'disagreement')),
    about text not null,
    detail jsonb not null,
    observed_at timestamptz not null,
    primary key (trial, kind, about)
);

create index chains_by_revision on chains (revision);
