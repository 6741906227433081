-- What was told to wait, so that neither a restart nor another replica forgets it. `until` is business time for throttles
-- and machine time for the rest, as `runs` says; subject and detail name a pair (line, person), a template (name, language)
-- or a number (line). Words are those of holds.py.
create table holds (
    tenant text not null,
    runs text not null,
    scope text not null,
    subject text not null,
    detail text not null,
    until timestamptz not null,
    wait interval not null,
    strikes integer not null,
    since timestamptz not null,              -- business time
    machine_since timestamptz not null,
    code integer,
    ends_early boolean not null,
    by_operator boolean not null,
    by_status boolean not null,
    fixed boolean not null,
    primary key (tenant, runs, scope, subject, detail)
);

-- Attempts that WhatsApp took part in and that did not arrive: refused, failed, or settled by silence. They are bounded.
alter table messages add column failures integer not null default 0;
