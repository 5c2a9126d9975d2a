-- The raw vault: every provider webhook as its bytes came, refused ones with the check that failed.
create table inbound_webhooks (
  id text not null collate "C",
  tenant_id text not null collate "C",
  capability text not null,
  provider text not null,
  connection_id text collate "C",
  state text not null check (state in ('stored', 'refused')),
  failed_check text,
  reason text,
  method text not null,
  target text not null,
  headers text not null,
  body bytea not null,
  trace_id text not null,
  received_at timestamptz not null,
  primary key (id)
) partition by range (id);
create index inbound_webhooks_of_tenant on inbound_webhooks (tenant_id, id);
select protect_table('inbound_webhooks', 'select', 'select, insert');
insert into partitioned_tables (table_name, id_prefix, keep_days) values ('inbound_webhooks', 'whk', 30);
select maintain_partitions();

-- Facts already taken from a provider's webhooks: what makes a repeated report one report.
create table inbound_facts (
  tenant_id text not null collate "C",
  provider text not null,
  fact_key text not null,
  webhook_id text not null collate "C",
  recorded_at timestamptz not null default now(),
  primary key (tenant_id, provider, fact_key)
);
create index inbound_facts_age on inbound_facts (recorded_at);
select protect_table('inbound_facts', 'select, insert', 'select, insert, delete');
