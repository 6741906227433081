-- Chains that failed at what was due: they stand still, with the reason, until an operator lets them go on. `due` is
-- business time, `set_aside_at` machine time.
create table chains_set_aside (
    chain_id text primary key references chains on delete cascade,
    due timestamptz not null,
    reason text not null,
    sentence text not null,
    set_aside_at timestamptz not null
);
