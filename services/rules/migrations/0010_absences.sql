-- When members of staff are away and who covers, as they wrote it themselves. What people.yaml says stays there.
create table absences (
    tenant text not null,
    person_id text not null,
    document jsonb not null,
    primary key (tenant, person_id)
);
