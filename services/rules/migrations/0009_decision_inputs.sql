-- What decisions were made from, so that each can be made again (docs/decisions/0074): the facts by the digest of their
-- JSON, once for all decisions that read them. `person_id` is whose erasure deletes the row. Deleted by age, which is
-- machine time; `decided_at` is business time.
create table recorded_facts (
    digest text primary key,
    document bytea not null,
    person_id text,
    read_on date not null
);
create index recorded_facts_by_age on recorded_facts (read_on);
create index recorded_facts_by_person on recorded_facts (person_id) where person_id is not null;

create table decision_inputs (
    tenant text not null,
    about text not null,
    decided_at timestamptz not null,
    person_id text,
    recorded_at timestamptz not null,
    document bytea not null,
    primary key (tenant, about, decided_at)
);
create index decision_inputs_by_age on decision_inputs (recorded_at);
create index decision_inputs_by_time on decision_inputs (tenant, decided_at);
create index decision_inputs_by_person on decision_inputs (person_id) where person_id is not null;
