-- What every service needs to keep its part of the delivery promise: what it has seen, what must leave, how far it has read.

create table inbox (
    tenant text not null,
    source text not null,
    id text not null,
    seen_at timestamptz not null,
    primary key (tenant, source, id)
) partition by hash (tenant, source, id);

do $$
begin
    for part in 0..7 loop
        execute format('create table inbox_%s partition of inbox for values with (modulus 8, remainder %s)', part, part);
    end loop;
end $$;
create index inbox_by_age on inbox (seen_at);

create table outbox (
    id bigint generated always as identity primary key,
    topic text not null,
    key bytea,
    value bytea not null,
    headers jsonb,
    written_at timestamptz not null
);

-- Who holds the right to relay, and until when their unacknowledged records may still arrive; machine time.
create table relay (
    one boolean primary key default true check (one),
    held_until timestamptz not null
);

create table progress (
    topic text not null,
    partition int not null,
    next_offset bigint not null,
    caught_up_to timestamptz,
    primary key (topic, partition)
);

create table parked (
    id bigint generated always as identity primary key,
    topic text not null,
    partition int,
    kafka_offset bigint,
    key bytea,
    value bytea not null,
    headers jsonb,
    reason text not null,
    sentence text not null,
    parked_at timestamptz not null,
    state text not null default 'parked' check (state in ('parked', 'replayed', 'discarded')),
    note text
);
create index parked_open on parked (parked_at) where state = 'parked';
