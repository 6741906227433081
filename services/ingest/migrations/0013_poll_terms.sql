-- Rises with every poll that begins or goes on with a pass: an earlier poll, of a process that stood still, stores nothing more.
alter table passes add column term bigint not null default 0;
