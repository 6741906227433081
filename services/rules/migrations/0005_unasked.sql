-- What a person lately wrote that nobody had asked for: when, and hashes of the words. It bounds what one person can cause.
create table unasked (
    tenant text not null,
    person_id text not null,
    document jsonb not null,
    primary key (tenant, person_id)
);
