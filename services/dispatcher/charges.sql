-- Queries of budget.py: which messages WhatsApp charged, and how many there were on each day.

-- name: record_charges
-- The prices of messages, as statuses name them; the first report of an attempt counts.
insert into charges (tenant, message_id, attempt, day, line, country, category, pricing_type, rule)
select $1, r.message_id, r.attempt, r.day, m.line, r.country, r.category, r.pricing_type, coalesce(m.rule, '')
from unnest($2::text[], $3::integer[], $4::date[], $5::text[], $6::text[], $7::text[])
    as r (message_id, attempt, day, country, category, pricing_type)
join messages m on m.tenant = $1 and m.message_id = r.message_id
order by r.message_id, r.attempt
on conflict (tenant, message_id, attempt) do nothing
returning category, pricing_type;

-- name: count_charges
-- Adds charges that are not counted yet to the totals of their days. Two replicas never count the same one.
with fresh as (
    update charges c set is_counted = true
    from (
        select message_id, attempt from charges
        where tenant = $1 and not is_counted
        order by message_id, attempt limit $2 for update skip locked
    ) as f
    where c.tenant = $1 and c.message_id = f.message_id and c.attempt = f.attempt
    returning c.day, c.line, c.country, c.category, c.pricing_type, c.rule
), added as (
    insert into charge_totals as t (tenant, day, line, country, category, pricing_type, rule, messages)
    select $1, day, line, country, category, pricing_type, rule, count(*) from fresh
    group by day, line, country, category, pricing_type, rule
    order by day, line, country, category, pricing_type, rule
    on conflict (tenant, day, line, country, category, pricing_type, rule)
    do update set messages = t.messages + excluded.messages
)
select count(*) from fresh;

-- name: delete_old_charges
-- Single messages that no status concerns any more; their totals stay.
delete from charges
where ctid in (select ctid from charges where is_counted and day < $2 limit $3) and tenant = $1;

-- name: charged_messages
-- The messages from one day to another, the counted ones and those that are not counted yet.
select day, line, country, category, pricing_type, rule, sum(messages)::bigint as messages
from (
    select day, line, country, category, pricing_type, rule, messages
    from charge_totals where tenant = $1 and day between $2 and $3
    union all
    select day, line, country, category, pricing_type, rule, 1
    from charges where tenant = $1 and not is_counted and day between $2 and $3
) as each_one
group by day, line, country, category, pricing_type, rule
order by day, line, country, category, pricing_type, rule;

-- ------------------------------------------------------------------ the budget

-- name: settled_sends
-- Of these sends, those of which a status said what they cost, and those that did not go or have gone again since.
select r.message_id
from unnest($2::text[], $3::integer[]) as r (message_id, attempt)
left join messages m on m.tenant = $1 and m.message_id = r.message_id
where m.message_id is null or m.attempts <> r.attempt or m.state not in ('intent', 'uncertain', 'accepted')
    or exists (
        select from charges c where c.tenant = $1 and c.message_id = r.message_id and c.attempt = r.attempt
    );

-- name: unsettled_sends
-- Sends begun since then of which nothing said yet what they cost.
select m.message_id, a.attempt, a.wording, coalesce(t.category, case
        when m.used_template <> m.template_name then m.content -> 'template' -> 'fallback' ->> 'category'
        else m.content -> 'template' ->> 'category'
    end) as category,
    coalesce(c.phone, p.phone) as phone, coalesce(c.bsuid, p.bsuid) as bsuid
from attempts a
join messages m on m.tenant = a.tenant and m.message_id = a.message_id and m.attempts = a.attempt
left join people p on p.tenant = m.tenant and p.person_id = m.person_id
left join people c on c.tenant = m.tenant and c.person_id = p.current_id
left join lateral (
    select one.category from account_templates one
    where one.tenant = m.tenant and one.name = coalesce(m.used_template, m.template_name)
        and one.language = coalesce(m.used_language, m.template_language)
    order by one.categorised_at desc nulls last limit 1
) as t on true
where a.tenant = $1 and a.begun_at > $2 and m.state in ('intent', 'uncertain', 'accepted')
    and (
        select true from charges d
        where d.tenant = a.tenant and d.message_id = a.message_id and d.attempt = a.attempt limit 1
    ) is null;

-- name: release_budgeted
-- The next $4 messages after $3 that the budget holds are judged again. Returns where to go on, 0 at the end.
with looked_at as materialized (
    select m.message_id, m.sequence from messages m
    where m.tenant = $1 and m.sequence > $3 and m.state = 'waiting' and m.reason = 'budget_spent'
    order by m.sequence limit $4
), released as (
    update messages m set not_before = $2, reason = null
    where m.tenant = $1 and m.message_id = any (array(select message_id from looked_at))
        and (m.state = 'waiting') is true and (m.reason = 'budget_spent') is true
)
select case when count(*) = $4 then max(sequence) else 0 end from looked_at;

-- name: count_budgeted
-- How many messages the budget holds.
select count(*) from messages where tenant = $1 and state = 'waiting' and reason = 'budget_spent';
