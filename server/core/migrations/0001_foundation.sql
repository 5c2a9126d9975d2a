-- Puts a table with a tenant_id column behind row-level security: the app role sees one tenant's rows and
-- nothing when no tenant is set; the system role sees all. Both get the privileges named and no others.
create function protect_table(table_name text, app_privileges text, system_privileges text)
returns void language plpgsql as $$
begin
  execute format('alter table %I enable row level security', table_name);
  execute format('alter table %I force row level security', table_name);
  execute format(
    'create policy one_tenant on %I for all to pipecore_app '
    'using (tenant_id = (select nullif(current_setting(''app.tenant_id'', true), '''')))', table_name);
  execute format('create policy every_tenant on %I for all to pipecore_system using (true) with check (true)', table_name);
  if app_privileges <> '' then
    execute format('grant %s on %I to pipecore_app', app_privileges, table_name);
  end if;
  if system_privileges <> '' then
    execute format('grant %s on %I to pipecore_system', system_privileges, table_name);
  end if;
end $$;
revoke execute on function protect_table from public;

-- What an Idempotency-Key was answered with, for 24 hours.
create table idempotency_keys (
  tenant_id text not null collate "C",
  key text not null,
  operation text not null,
  request_hash text not null,
  answer text,
  created_at timestamptz not null default now(),
  primary key (tenant_id, key)
);
create index idempotency_keys_age on idempotency_keys (created_at);
select protect_table('idempotency_keys', 'select, insert, update', 'select, delete');
