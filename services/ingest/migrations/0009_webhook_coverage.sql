-- The table has the name of what it holds. Replicas of the version before still use the old name, which is a view.
alter table wholeness rename to webhook_coverage;
alter index wholeness_pkey rename to webhook_coverage_pkey;
create view wholeness as select tenant, account, since, until, gap_since, gap_until from webhook_coverage;
