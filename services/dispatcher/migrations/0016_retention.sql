-- What deleting by age finds its rows by.
create index messages_ended on messages (changed_at) where state not in ('waiting', 'intent', 'uncertain');
create index withdrawals_by_age on withdrawals (at);
create index windows_by_age on windows (opened_at);
