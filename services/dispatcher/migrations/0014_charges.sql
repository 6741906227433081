-- Each message of which WhatsApp said whether it charges for it: once, however many statuses say so. It names no person.
-- `day` is a day of the tenant's time zone; `pricing_type` is Meta's word (regular, or what makes the message free).
create table charges (
    tenant text not null,
    message_id text not null,
    attempt integer not null,
    day date not null,
    line text not null,
    country text not null,                   -- ISO 3166-1; empty where the status named no address
    category text not null,
    pricing_type text not null,
    rule text not null,                      -- empty for a message of no rule
    is_counted boolean not null default false,
    primary key (tenant, message_id, attempt)
);
create index charges_uncounted on charges (tenant) where not is_counted;
create index charges_by_day on charges (day) where is_counted;

-- The counted messages of each day. What is here and what is not counted yet is the whole.
create table charge_totals (
    tenant text not null,
    day date not null,
    line text not null,
    country text not null,
    category text not null,
    pricing_type text not null,
    rule text not null,
    messages bigint not null,
    primary key (tenant, day, line, country, category, pricing_type, rule)
);

-- A status that comes before its receipt keeps what it says of the price.
alter table early_statuses add column pricing_category text;
alter table early_statuses add column pricing_type text;
alter table early_statuses add column country text;
