-- As before, but a tenant may be called `retry`, and what ends is always found by its key. Once the table had been
-- vacuumed while it was empty the planner took it to have one row, and read all of it, for each batch that ended, to join
-- it: with a backlog of 3,000 an event cost 1.4 ms. A row that is looked up for each of a list, or by a list of keys,
-- leaves it no such choice, so the plan is kept: making it took longer than ending a few.
create or replace function finish_work(
  p_ids text[], p_tokens uuid[], p_outcomes text[], p_run_ats timestamptz[], p_errors text[], p_now timestamptz
) returns table (id text, token uuid)
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin return query
  with held as materialized (
    select given.*, locked.series
    from unnest(p_ids, p_tokens, p_outcomes, p_run_ats, p_errors) as given (id, token, outcome, run_at, error)
    cross join lateral (
      select w.series from work w where w.id = given.id and w.token = given.token for update
    ) locked
  ),
  removed as (
    delete from work w
    where w.id = any (array(select h.id from held h where h.outcome in ('done', 'dead')))
    returning w.*
  ),
  buried as (
    insert into dead_work (
      id, kind, lane, tenant_id, product_id, ref, run_at, attempts, error, died_at, series, order_key, number)
    select r.id, r.kind, r.lane, r.tenant_id, r.product_id, r.ref, r.run_at, r.attempts, h.error, p_now,
      r.series, r.order_key, r.number
    from held h join removed r on r.id = h.id where h.outcome = 'dead'
  ),
  returned as (
    update work w
    set run_at = coalesce(h.run_at, w.run_at), lease_until = null, token = null,
      lane = case when h.outcome = 'retry' and h.series is not null and w.lane not like '%/%/retry'
        then w.lane || '/retry' else w.lane end,
      attempts = w.attempts - case h.outcome when 'release' then 1 else 0 end
    from held h
    where w.id = any (array(select o.id from held o where o.outcome in ('retry', 'release'))) and w.id = h.id
    returning w.id, h.token
  )
  select r.id, r.token from removed r union all select r.id, r.token from returned r;
end $$;

create or replace function extend_work(p_ids text[], p_tokens uuid[], p_lease_seconds int)
returns table (id text, token uuid)
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin return query
  with held as materialized (
    select given.id from unnest(p_ids, p_tokens) as given (id, token)
    cross join lateral (select from work w where w.id = given.id and w.token = given.token for update) locked
  )
  update work w set lease_until = now() + p_lease_seconds * interval '1 second'
  where w.id = any (array(select h.id from held h))
  returning w.id, w.token;
end $$;
