-- What `stet templates status` reads, as the operator.

-- name: templates
-- Every template that Meta reported or that messages wait for, and how many of them; a template of which nothing was
-- reported has only its messages: it is missing, or unknown where WhatsApp has refused or paced a send of it. A message
-- waits for the template of its line's account ($2, $3, else $4), or of any where $4 is null.
with waiting as (
    select m.template_name as name, m.template_language as language, coalesce(l.account, $4) as account,
        count(*) as messages, min(m.reason) as reason
    from dispatcher.messages m
    left join unnest($2::text[], $3::text[]) as l (line, account) on l.line = m.line
    where m.tenant = $1 and m.state = 'waiting' and m.reason in (
        'template_paused', 'template_pending', 'template_rejected', 'template_missing', 'template_recategorised',
        'template_disabled', 'template_throttled'
    )
    group by 1, 2, 3
)
select coalesce(t.account, w.account, '') as account, coalesce(t.name, w.name) as template,
    coalesce(t.language, w.language) as language,
    coalesce(t.status, case
        when t.name is not null then 'APPROVED' when w.reason = 'template_throttled' then 'UNKNOWN' else 'MISSING'
    end) as status,
    coalesce(t.category, '') as category,
    coalesce(t.previous_category, '') as moved_from, coalesce(t.quality, '') as quality,
    coalesce(w.messages, 0) as waiting, coalesce(t.reason, w.reason, '') as reason,
    nullif(t.reported_at, '-infinity') as reported_at
from (
    select *, case when $4::text is not null then account end as told_apart
    from dispatcher.account_templates where tenant = $1
) t
full join waiting w on w.name = t.name and w.language = t.language and coalesce(w.account, '') = coalesce(t.told_apart, '')
order by 1, 2, 3;

-- name: last_reading
select max(read_at) from dispatcher.template_readings where tenant = $1;
