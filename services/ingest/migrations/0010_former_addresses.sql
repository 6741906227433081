-- Numbers and BSUIDs that people have left, as WhatsApp said: what was sent from there before is theirs, however late it is
-- delivered, and who writes from there later is another person. address_key is the form by which addresses are compared; until is WhatsApp's instant.
create table former_addresses (
    tenant text not null,
    person_id text not null,
    address text not null,
    address_key text not null,
    until timestamptz not null,
    primary key (tenant, address_key, person_id, until)
);
create index former_addresses_person on former_addresses (tenant, person_id);
