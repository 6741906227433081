-- How many reads in a row Consonance answered with errors: a person is asked after some of them, and not after as many
-- looks that merely found nothing settled yet.

alter table writes add column failed_reads integer not null default 0;
comment on column writes.failed_reads is 'Reads in a row that Consonance answered with errors.';
