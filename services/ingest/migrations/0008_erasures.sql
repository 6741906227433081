-- Contacts of Consonance whose person was erased: what Consonance still shows of them is not taken in again.
create table erased_contacts (
    tenant text not null,
    contact_id bigint not null,
    erased_at timestamptz not null, -- business time
    primary key (tenant, contact_id)
);
create index people_by_contact on people (tenant, contact_id) where contact_id is not null;
-- Who never became a contact is erased once the state is old; its instant is ISO 8601 in UTC, so that it sorts as text.
create index visitors_by_age on people ((state ->> 'observed_at'))
    where contact_id is null and coalesce(state ->> 'erased', 'false') <> 'true';
create index people_by_merged on people (tenant, (state ->> 'merged_into')) where state ? 'merged_into';
-- When a file was stored or refused, in business time, from which it is kept for a while; older rows have `settled_at`.
alter table media_files add column reported_at timestamptz;
create index media_files_by_age on media_files (tenant, coalesce(reported_at, settled_at)) where state <> 'waiting';
