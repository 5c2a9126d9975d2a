-- Where a chain begins whose first blocks are past their retention.
create table audit_checkpoints (
  product_id text not null collate "C",
  tenant_id text not null collate "C",
  -- The last block that is gone, and what the next one follows.
  number bigint not null,
  last_place bigint not null,
  hash text not null,
  sealed_at timestamptz not null,
  -- Of all blocks that are gone.
  attempts bigint not null,
  signature text not null,
  primary key (product_id, tenant_id)
);
select protect_table('audit_checkpoints', '', 'select, insert, update');
grant delete on audit_blocks to pipecore_system;
