-- Chains of earlier rulebooks are found by their rule, because most rules let theirs go on as they began.
drop index chains_to_review;
create index chains_to_review on chains (tenant, rule, (coalesce(reviewed, revision))) where active;
