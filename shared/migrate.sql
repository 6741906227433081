-- name: schema
-- A service owns its schema by a role of its own, and sees no other. SCHEMA and ROLE are filled in from the list of services.
do $$
begin
    if not exists (select 1 from pg_roles where rolname = 'ROLE') then
        create role ROLE nologin;
    end if;
    execute format('grant ROLE to %I', current_user);
end $$;
create schema if not exists SCHEMA authorization ROLE;
revoke all on schema SCHEMA from public;

-- name: ledger
create table if not exists migrations (name text primary key, digest text not null, applied_at timestamptz not null);

-- name: applied
select name, digest from migrations;

-- name: apply
insert into migrations (name, digest, applied_at) values ($1, $2, $3);
