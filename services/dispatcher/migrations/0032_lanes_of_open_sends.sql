-- Each batch of requests asks whether a send in flight is of a less urgent lane than its own (has_less_urgent). Without the lane
-- in the index it looked at every send begun since the last vacuum.
drop index messages_open;
create index messages_open on messages (state, lane) where state in ('intent', 'uncertain');
