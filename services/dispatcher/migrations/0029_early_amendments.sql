-- Amendments that came before their message: where two ids of a person were merged, they come by another partition.
-- `amendment` is the newest of each field that was given.
create table early_amendments (
    tenant text not null,
    message_id text not null,
    person_id text not null,
    amendment jsonb not null,
    at timestamptz not null,  -- business time
    primary key (tenant, message_id)
);
create index early_amendments_by_age on early_amendments (at);
