-- A chain that joined events lives beside the next one of its rule and subject, once its first message has gone. A version that
-- does not know the column joins nothing.
alter table chains add column beside boolean not null default false;
drop index one_active_chain;
create unique index one_active_chain on chains (tenant, rule, subject) where active and not beside;
