-- What deleting by age finds its rows by.
create index media_files_by_age on media_files (reported_at);
create index media_awaited_by_write on media_awaited (tenant, write_id);
