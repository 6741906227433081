-- What every service needs to keep its part of the delivery promise: what it has seen, what must leave, how far it has read.

-- Machine time. `brief` rows are kept for days instead of months: what they stand for can happen twice without harm.
create table inbox (
    tenant text not null,
    source text not null,
    id text not null,
    seen_at timestamptz not null,
    brief boolean not null,
    primary key (tenant, source, id)
) partition by hash (tenant, source, id);

do $$
begin
    for part in 0..7 loop
        execute format('create table inbox_%s partition of inbox for values with (modulus 8, remainder %s)', part, part);
    end loop;
end $$;
create index inbox_by_age on inbox using brin (seen_at) with (pages_per_range = 32);

-- Records that must leave, in the order of their ids. `headers` is a JSON list of pairs, kept as bytes since PostgreSQL
-- refuses a NUL in text; `written_at` is machine time.
create table outbox (
    id bigint generated always as identity primary key,
    topic text not null,
    key bytea,
    value bytea not null,
    headers bytea,
    written_at timestamptz not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- Until when records sent by the holder of the relay's lock, and not acknowledged, may still arrive; machine time.
create table relay (
    one boolean primary key default true check (one),
    held_until timestamptz not null
);

-- How far each partition was read into this schema, and the business time up to which nothing of it is missing.
create table progress (
    topic text not null,
    partition int not null,
    next_offset bigint not null,
    caught_up_to timestamptz,
    primary key (topic, partition)
) with (fillfactor = 50);

-- Whether the partitions these guards name ("topic:partition") are read up to a due instant, so that it may fire.
create function caught_up(guards text[], due timestamptz) returns boolean
language sql stable
begin atomic
    select not exists (
        select from unnest(guards) as guard
        left join progress on topic = split_part(guard, ':', 1) and partition = split_part(guard, ':', 2)::int
        where caught_up_to is null or caught_up_to < due
    );
end;

-- What could not be handled. `event` identifies the event where the record could be read; it is parked once at a time.
create table parked (
    id bigint generated always as identity primary key,
    topic text not null,
    partition int,
    kafka_offset bigint,
    event text,
    key bytea,
    value bytea not null,
    headers bytea,
    reason text not null,
    sentence text not null,
    parked_at timestamptz not null,
    state text not null default 'parked' check (state in ('parked', 'replayed', 'discarded')),
    settled_at timestamptz,
    note text
);
create index parked_open on parked (parked_at) where state = 'parked';
create unique index parked_once on parked (event) where state = 'parked';
