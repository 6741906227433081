-- Keyed hashes of the addresses of erased people, and when they asked: what was sent from there before is not taken in,
-- however late it is delivered.
create table erased_addresses (
    tenant text not null,
    address_hash text not null,
    erased_at timestamptz not null, -- business time
    primary key (tenant, address_hash)
);
create index erased_addresses_by_age on erased_addresses (erased_at);
