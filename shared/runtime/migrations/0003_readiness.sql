-- The one row a readiness probe commits: whether writing works is seen by writing. Machine time.
create table readiness (
    one boolean primary key default true check (one),
    written_at timestamptz not null
);
