create table products (
  id text primary key collate "C",
  name text not null,
  created_at timestamptz not null default now()
);
alter table products enable row level security;
alter table products force row level security;
create policy every_product on products for all to pipecore_system using (true) with check (true);
grant select, insert on products to pipecore_system;

create table tenants (
  id text primary key collate "C",
  product_id text not null collate "C" references products (id),
  name text not null,
  created_at timestamptz not null default now()
);
create index tenants_of_product on tenants (product_id, id);
alter table tenants enable row level security;
alter table tenants force row level security;
create policy own_tenant on tenants for select to pipecore_app
  using (id = (select nullif(current_setting('app.tenant_id', true), '')));
create policy every_tenant on tenants for all to pipecore_system using (true) with check (true);
grant select on tenants to pipecore_app;
grant select, insert on tenants to pipecore_system;

-- Only hashes of keys are kept. A key belongs to the platform (admin), a product or a tenant.
create table api_keys (
  id text primary key collate "C",
  hash text not null unique,
  prefix text not null,
  name text not null,
  product_id text collate "C" references products (id),
  tenant_id text collate "C" references tenants (id),
  scopes text[] not null,
  expires_at timestamptz,
  last_used_at timestamptz,
  revoked_at timestamptz,
  created_at timestamptz not null default now()
);
create index api_keys_of_product on api_keys (product_id, id);
create index api_keys_of_tenant on api_keys (tenant_id, id);
alter table api_keys enable row level security;
alter table api_keys force row level security;
create policy every_key on api_keys for all to pipecore_system using (true) with check (true);
grant select, insert, update on api_keys to pipecore_system;

-- The key that seals an owner's secrets, itself wrapped by the master key kek_id.
create table data_keys (
  owner text primary key collate "C",
  tenant_id text collate "C",
  kek_id text not null,
  wrapped text not null,
  created_at timestamptz not null default now()
);
create index data_keys_by_master_key on data_keys (kek_id);
select protect_table('data_keys', 'select, insert', 'select, insert, update');
