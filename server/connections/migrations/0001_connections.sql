-- A tenant's account at a provider. Deleted rows stay, without being usable, until callbacks of their last
-- messages can no longer come.
create table connections (
  id text primary key collate "C",
  tenant_id text not null collate "C" references tenants (id),
  capability text not null,
  provider text not null,
  sealed_credentials text not null,
  version integer not null default 1,
  active boolean not null default true,
  priority smallint not null default 0,
  weight smallint not null default 100,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz
);
create unique index connections_one_per_provider on connections (tenant_id, capability, provider) where deleted_at is null;
select protect_table('connections', 'select, insert, update', 'select, delete');
