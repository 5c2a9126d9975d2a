-- Claims due work of one kind, lane after lane, and leases it.
-- `lanes` is a loose index scan: one seek per lane that has rows, starting behind p_after. A lane gives at most
-- p_per_lane rows, or the p_rooms entry beside its name in p_busy. Returns one row even when there is nothing:
-- where the next claim starts, and whether this one has seen every lane.
-- The planner is pinned: on an empty or freshly filled table it has no statistics and picks plans that sort.
create function claim_work(
  p_kind text, p_after text, p_lanes int, p_total int, p_per_lane int, p_busy text[], p_rooms int[],
  p_token uuid, p_lease_seconds int, p_now timestamptz
) returns table (
  id text, lane text, tenant_id text, product_id text, ref text, run_at timestamptz, attempts smallint,
  next_after text, complete boolean
) language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
set enable_hashjoin = off set enable_mergejoin = off set jit = off
as $$
#variable_conflict use_column
begin return query
  with recursive lanes (lane, place) as (
    (select w.lane, 1 from work w where w.kind = p_kind and w.lane > p_after order by w.lane limit 1)
    union all
    select (select w.lane from work w where w.kind = p_kind and w.lane > l.lane order by w.lane limit 1), l.place + 1
    from lanes l where l.lane is not null and l.place < p_lanes
  ),
  picked as materialized (
    select due.id, due.lane
    from lanes l cross join lateral (
      select w.id, w.lane from work w
      where w.kind = p_kind and w.lane = l.lane and w.run_at <= p_now
        and (w.lease_until is null or w.lease_until < now())
      order by w.run_at, w.id
      limit coalesce(p_rooms[array_position(p_busy, l.lane)], p_per_lane)
      for update skip locked
    ) due
    where l.lane is not null
    limit p_total
  ),
  claimed as (
    update work w
    set lease_until = now() + p_lease_seconds * interval '1 second', attempts = w.attempts + 1, token = p_token
    where w.id = any (array(select p.id from picked p))
    returning w.id, w.lane, w.tenant_id, w.product_id, w.ref, w.run_at, w.attempts
  ),
  seen as (
    select max(l.lane) as last_lane, count(l.lane) as lanes,
      (select count(*) from picked) = p_total as filled, (select max(p.lane) from picked p) as last_picked
    from lanes l
  )
  select c.id, c.lane, c.tenant_id, c.product_id, c.ref, c.run_at, c.attempts,
    case when s.filled then s.last_picked when s.lanes < p_lanes then '' else s.last_lane end,
    p_after = '' and s.lanes < p_lanes and not s.filled
  from seen s left join claimed c on true;
end $$;

-- Prolongs leases that are still held and returns them; the others were taken over.
create function extend_work(p_ids text[], p_tokens uuid[], p_lease_seconds int) returns table (id text, token uuid)
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off
as $$
#variable_conflict use_column
begin return query
  update work w set lease_until = now() + p_lease_seconds * interval '1 second'
  from unnest(p_ids, p_tokens) as held (id, token)
  where w.id = held.id and w.token = held.token
  returning w.id, w.token;
end $$;

-- Ends claims that are still held: `done` and `dead` leave the table, `retry` comes again at its time, `release`
-- as well and without having cost an attempt. Returns the claims it applied to; the others were taken over.
-- Rows are locked in the order given, so that callers which sort by id never wait for each other in a circle.
create function finish_work(
  p_ids text[], p_tokens uuid[], p_outcomes text[], p_run_ats timestamptz[], p_errors text[], p_now timestamptz
) returns table (id text, token uuid)
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off
as $$
#variable_conflict use_column
begin return query
  with held as materialized (
    select given.*
    from unnest(p_ids, p_tokens, p_outcomes, p_run_ats, p_errors) as given (id, token, outcome, run_at, error)
    join work w on w.id = given.id and w.token = given.token
    for update of w
  ),
  removed as (
    delete from work w using held h where w.id = h.id and h.outcome in ('done', 'dead')
    returning w.*, h.outcome, h.error
  ),
  buried as (
    insert into dead_work (id, kind, lane, tenant_id, product_id, ref, run_at, attempts, error, died_at)
    select r.id, r.kind, r.lane, r.tenant_id, r.product_id, r.ref, r.run_at, r.attempts, r.error, p_now
    from removed r where r.outcome = 'dead'
  ),
  returned as (
    update work w
    set run_at = coalesce(h.run_at, w.run_at), lease_until = null, token = null,
      attempts = w.attempts - case h.outcome when 'release' then 1 else 0 end
    from held h where w.id = h.id and h.outcome in ('retry', 'release')
    returning w.id, h.token
  )
  select r.id, r.token from removed r union all select r.id, r.token from returned r;
end $$;

revoke execute on function claim_work, extend_work, finish_work from public;
grant execute on function claim_work, extend_work, finish_work to pipecore_system;
