-- What operators changed, who did it and why. A row is written before the change and gets its result after it, once;
-- nothing else of it ever changes. Instants are machine time.
create table audit_log (
    entry       bigint generated always as identity primary key,
    at          timestamptz not null,
    who         text not null,
    login       text not null default session_user,
    action      text not null,
    target      text not null,
    reason      text not null,
    result      text,
    ended_at    timestamptz
);
comment on column audit_log.result is 'Null while the change is under way, and for ever where its command was killed.';
create index audit_log_by_time on audit_log (at);

create function protect_audit_log() returns trigger language plpgsql as $$
begin
    if tg_op = 'UPDATE' and old.result is null
        and (old.at, old.who, old.login, old.action, old.target, old.reason)
            = (new.at, new.who, new.login, new.action, new.target, new.reason) then
        return new;
    end if;
    raise exception 'the audit log is append-only';
end
$$;

create trigger audit_log_keeps_rows before update or delete on audit_log
    for each row execute function protect_audit_log();
create trigger audit_log_is_not_truncated before truncate on audit_log
    for each statement execute function protect_audit_log();
