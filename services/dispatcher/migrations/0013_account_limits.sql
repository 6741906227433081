-- Limits that WhatsApp reported of an account, the newest report of each. `name` is Meta's word for a restriction, and the
-- display number for a throughput. `until` is business time; null where Meta named no end, or where a limit has none.
create table account_limits (
    tenant text not null,
    account text not null,
    kind text not null,
    name text not null,
    value bigint,
    until timestamptz,
    reported_at timestamptz not null,
    primary key (tenant, account, kind, name)
);

-- Messages that wait for the account: released when a person writes, or when WhatsApp reports another limit.
create index messages_of_limits on messages (tenant, person_id, line)
where state = 'waiting' and reason in ('portfolio_limit', 'account_restricted');
