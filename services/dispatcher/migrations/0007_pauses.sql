-- What an operator has paused (stet pause) until it is resumed. `name` is the tenant itself where the kind is tenant.
create table pauses (
    tenant  text not null,
    kind    text not null check (kind in ('line', 'template', 'tenant')),
    name    text not null,
    since   timestamptz not null,           -- machine time
    who     text not null,
    reason  text not null,
    primary key (tenant, kind, name)
);
create index messages_paused on messages (tenant) where state = 'waiting' and reason = 'paused_by_operator';
