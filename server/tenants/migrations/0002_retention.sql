-- How long a tenant's events, deliveries and provider webhooks are kept, and their bodies if not as long.
alter table tenants
  add column retention_days int not null default 30 check (retention_days in (7, 30, 90, 365)),
  -- Null: as long as the rows.
  add column raw_retention_days int check (raw_retention_days in (7, 30, 90, 365)),
  add column retention_changed_at timestamptz,
  -- Rows of earlier days may be gone, however long rows are kept since.
  add column kept_from date,
  add check (raw_retention_days <= retention_days);
grant update (retention_days, raw_retention_days, retention_changed_at, kept_from) on tenants to pipecore_system;

-- The owner, who drops days, is under the policies as well unless he is a superuser.
create policy owner_looks on tenants for select to current_user using (true);

-- For the modules whose tables follow it.
create function tenant_retention() returns table (
  tenant_id text, retention_days int, raw_retention_days int, changed_at timestamptz, kept_from date
) language sql stable as $$
  select id, retention_days, coalesce(raw_retention_days, retention_days), retention_changed_at, kept_from from tenants
$$;
revoke execute on function tenant_retention from public;
grant execute on function tenant_retention to pipecore_system;
