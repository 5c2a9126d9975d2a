-- A tenant's active connections for a capability, best first: whether new work still goes where it went. A function
-- keeps the plan.
create function active_connections(p_tenant_id text, p_capability text) returns text[]
language plpgsql stable as $$
begin
  return array(
    select id from connections
    where tenant_id = p_tenant_id and capability = p_capability and active and deleted_at is null
    order by priority, updated_at desc);
end $$;
revoke execute on function active_connections(text, text) from public;
grant execute on function active_connections(text, text) to pipecore_app, pipecore_system;
