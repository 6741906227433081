-- What ingest reported of a file before the message with the file was read: the form that the message fills is judged by it.
create table file_reports (
    tenant text not null,
    file_id text not null,
    person_id text not null,
    reported_at timestamptz not null,
    document jsonb not null,
    primary key (tenant, file_id)
);
create index file_reports_by_person on file_reports (tenant, person_id);
create index file_reports_by_age on file_reports (reported_at);
