-- Only the search for due writes may read the index by due_at. Where statistics were collected while no write waited, PostgreSQL
-- expects no row in it, and looked for the earlier writes of an ordering key by reading it from end to end, once for each write
-- that is due. A query that does not ask for `due_at > '-infinity'` cannot use it.
drop index writes_due;
create index writes_due on writes (due_at, sequence) where state in ('queued', 'intent') and due_at > '-infinity';
