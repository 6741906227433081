-- The period that each recurring rule started last, and when it was due (business time). The row is changed by the one
-- replica that starts the period; a rule that is new has the instant at which it was first seen, and no period.
create table periods (
    tenant text not null,
    rule text not null,
    period text not null,
    at timestamptz not null,
    primary key (tenant, rule)
);
