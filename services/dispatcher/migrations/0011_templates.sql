-- What Meta says of each template besides whether it may be sent (`state`): `status` is its own word, `category` the one
-- it charges by, `previous_category` the one it moved the template from, `reason` why it was rejected, paused or disabled.
alter table templates add column status text;
alter table templates add column category text;
alter table templates add column previous_category text;
alter table templates add column quality text;
alter table templates add column reason text;
alter table templates add column categorised_at timestamptz;  -- of the newest report on the category; business time

-- When the list of an account's templates was last read to its end; business time.
create table template_readings (
    tenant text not null,
    account text not null,
    read_at timestamptz not null,
    templates integer not null,
    primary key (tenant, account)
);

-- The template of the newest attempt, where it was not the one that the message asked for first.
alter table messages add column used_template text;

drop index messages_hoping;
create index messages_hoping on messages (tenant) where state = 'waiting' and reason in (
    'unknown_person', 'template_paused', 'template_pending', 'template_rejected', 'template_missing'
);

-- Messages that wait for a template, to be released where its state changes.
create index messages_for_template on messages (tenant) where state = 'waiting' and reason in (
    'template_paused', 'template_pending', 'template_rejected', 'template_missing', 'template_recategorised'
);
