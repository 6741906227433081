-- Rulebooks by revision, so that a chain keeps the rules it started under.

-- name: find_rulebook
-- The files of a revision, as JSON.
select files::text from rulebooks where revision = $1;
