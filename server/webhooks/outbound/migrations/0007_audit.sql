-- Every attempt has a place in the order in which attempts were recorded. A transaction has its id before it draws a
-- place (CASE looks at its condition first): so whoever knows a last place and then takes an id of his own knows that
-- all places up to there belong to transactions with smaller ids. Attempts from before have none.
create sequence attempt_places;
grant usage, select on sequence attempt_places to pipecore_system;
alter table delivery_attempts add column place bigint;
alter table delivery_attempts alter column place
  set default case when pg_current_xact_id() is not null then nextval('attempt_places') end;
create index delivery_attempts_by_place on delivery_attempts
  using brin (place) with (pages_per_range = 32, autosummarize = on);

-- How far attempts are in blocks, and up to where they may be as soon as all transactions before next_transaction
-- have ended.
create table audit_horizon (
  is_sole boolean primary key default true check (is_sole),
  sealed_place bigint not null,
  next_place bigint not null,
  next_transaction bigint not null
);
insert into audit_horizon (sealed_place, next_place, next_transaction) values (0, 0, 0);
alter table audit_horizon enable row level security;
alter table audit_horizon force row level security;
create policy every_horizon on audit_horizon for all to pipecore_system using (true) with check (true);
grant select, update on audit_horizon to pipecore_system;

-- What a product's blocks are signed with.
create table audit_keys (
  product_id text primary key collate "C" references products (id),
  key_id text not null,
  public_key text not null,
  sealed_private_key text not null,
  created_at timestamptz not null
);
alter table audit_keys enable row level security;
alter table audit_keys force row level security;
create policy every_audit_key on audit_keys for all to pipecore_system using (true) with check (true);
grant select, insert on audit_keys to pipecore_system;

-- A chain per tenant; tenant_id '' is the product's own, of events about its endpoints.
create table audit_chains (
  product_id text not null collate "C" references products (id),
  tenant_id text not null collate "C",
  last_number bigint not null,
  last_hash text not null,
  last_place bigint not null,
  -- It has more than the deliveries of its last announcement since that.
  has_news boolean not null,
  announced_event_id text collate "C",
  primary key (product_id, tenant_id)
);
create index audit_chains_with_news on audit_chains (product_id, tenant_id) where has_news;
select protect_table('audit_chains', '', 'select, insert, update');

-- Append-only, and kept when the attempts are gone.
create table audit_blocks (
  product_id text not null collate "C",
  tenant_id text not null collate "C",
  number bigint not null,
  after_place bigint not null,
  last_place bigint not null,
  attempts int not null,
  root text not null,
  previous text not null,
  sealed_at timestamptz not null,
  hash text not null,
  key_id text not null,
  signature text not null,
  primary key (product_id, tenant_id, number)
);
select protect_table('audit_blocks', '', 'select, insert');

-- The hash of each attempt of a block, for as long as there are attempts.
create table audit_leaves (
  product_id text not null collate "C",
  tenant_id text not null collate "C",
  number bigint not null,
  sealed_at timestamptz not null,
  leaves text not null,
  primary key (product_id, tenant_id, number)
);
create index audit_leaves_age on audit_leaves (sealed_at);
select protect_table('audit_leaves', '', 'select, insert, delete');
