-- Rulebooks by revision, so that a chain keeps the rules it started under.

-- name: store_rulebook
-- The files of a revision, once.
insert into rulebooks (revision, files, first_seen) values ($1, $2::jsonb, $3) on conflict (revision) do nothing;

-- name: find_rulebook
-- The files of a revision, as JSON.
select files::text from rulebooks where revision = $1;
