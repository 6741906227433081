-- The files of messages as ingest reports them: kept with a link, or refused with the reason as its verdict.
create table media_files (
    tenant      text not null,
    file_id     text not null,
    person_id   text not null,
    verdict     text not null,
    url         text,
    mime        text,
    size        bigint,
    reported_at timestamptz not null,       -- business time
    primary key (tenant, file_id)
);
create index media_files_person on media_files (tenant, person_id);

-- Writes that were executed before their file was there; once it is, it is added to their record.
create table media_awaited (
    tenant   text not null,
    file_id  text not null,
    write_id text not null,
    primary key (tenant, file_id, write_id)
);
