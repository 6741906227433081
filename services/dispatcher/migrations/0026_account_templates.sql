-- What Meta says of the templates of each account, since two accounts may have templates of one name. It takes the place of the
-- table templates, which an earlier version writes while both run. Business time.
create table account_templates (
    tenant text not null,
    account text not null,  -- empty: said before accounts were told apart, and the first to say more of a template takes it over
    name text not null,
    language text not null,
    status text,            -- Meta's word; null while only the category or the quality is known
    reported_at timestamptz not null default '-infinity',
    category text,
    previous_category text,
    categorised_at timestamptz,
    quality text,
    reason text,
    primary key (tenant, name, language, account)
);
insert into account_templates (
    tenant, account, name, language, status, reported_at, category, previous_category, categorised_at, quality, reason
)
select t.tenant, coalesce(r.account, ''), t.name, t.language,
    coalesce(t.status, case t.state when 'usable' then 'APPROVED' else upper(t.state) end), t.reported_at, t.category,
    t.previous_category, t.categorised_at, t.quality, t.reason
from templates t
left join lateral (
    select max(account) as account from template_readings one where one.tenant = t.tenant having count(*) = 1
) as r on true;
