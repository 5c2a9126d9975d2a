-- Which events the attempts of a block are about: attempts are found by these. Null of blocks from before.
alter table audit_leaves add column event_ids text[] collate "C";
