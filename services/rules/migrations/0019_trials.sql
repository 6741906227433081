-- What a shadow would do differently, counted for each rule and kind of difference; `example` is the newest event or due step
-- that differs, and holds no address and no text. Instants are machine time.
create table rulebook_trial_differences (
    trial bigint not null references rulebook_trials on delete cascade,
    rule text not null,
    kind text not null,
    count bigint not null,
    example text not null,
    first_at timestamptz not null,
    last_at timestamptz not null,
    primary key (trial, rule, kind)
);

-- How many events and due steps were judged in the trial: by a shadow beside the acting revision, by a canary in its place.
alter table rulebook_trials add column judged bigint not null default 0;
