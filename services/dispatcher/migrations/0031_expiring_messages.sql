-- The search for expired messages and this index are for each other alone. Where statistics were collected while nothing waited,
-- PostgreSQL expects no row in any index of the queue, and takes whichever seems the cheapest to read from end to end: each claim
-- read the whole queue by this index, and the search read it by another. A query that does not ask for
-- `expires_at > '-infinity'` cannot use this index, and one that asks for `(state = 'waiting') is true` cannot use the others.
drop index messages_expiring;
create index messages_expiring on messages (expires_at) where (state = 'waiting') is true and expires_at > '-infinity';
