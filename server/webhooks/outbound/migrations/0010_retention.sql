-- An event's body may go before the event.
alter table events alter column body drop not null;
-- The owner copies the days that he makes anew.
create policy owner_looks on events for select to current_user using (true);
create policy owner_looks on delivery_attempts for select to current_user using (true);
update partitioned_tables set follows_tenants = true, raw_columns = '{body,older}' where table_name = 'events';
update partitioned_tables set follows_tenants = true where table_name = 'delivery_attempts';

-- Attempts of earlier days may be gone. Of no tenant: the product's own.
create function attempts_kept_since(p_tenant_id text) returns timestamptz language sql stable as $$
  select greatest(
    wish.kept_from, (now() at time zone 'UTC')::date - coalesce(wish.retention_days, entry.keep_days)
  )::timestamp at time zone 'UTC'
  from partitioned_tables entry left join tenant_retention() wish on wish.tenant_id = p_tenant_id
  where entry.table_name = 'delivery_attempts'
$$;
revoke execute on function attempts_kept_since from public;
grant execute on function attempts_kept_since to pipecore_system;

-- Hashes of attempts go chain by chain.
drop index audit_leaves_age;
create index audit_leaves_age on audit_leaves (product_id, tenant_id, sealed_at);
