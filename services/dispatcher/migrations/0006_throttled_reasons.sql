-- The reasons of waiting messages use the word of the table `throttles`.
update messages set reason = replace(reason, '_held', '_throttled')
where state = 'waiting' and reason in ('pair_held', 'number_held', 'template_held');
