-- What `stet cost` reads beside the charges, as the operator.

-- name: waiting
-- Messages that wait and may go before an instant, by rule.
select coalesce(rule, '') as rule, count(*) as messages from dispatcher.messages
where tenant = $1 and state in ('waiting', 'intent') and set_aside is null and not_before < $2
group by 1;

-- name: scheduled
-- Steps of chains that fall due before an instant, by rule.
select rule, count(*) as steps from rules.chains where tenant = $1 and next_due < $2 group by rule;
