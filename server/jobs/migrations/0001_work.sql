-- The smallest id of a moment; the same as firstIdOf in core/ids.ts.
create function id_bound(prefix text, at timestamptz) returns text
language sql immutable strict parallel safe as $$
  select prefix || '_' || string_agg(
    substr('0123456789abcdefghjkmnpqrstvwxyz', ((milliseconds >> (5 * place)) & 31)::int + 1, 1), '' order by place desc)
  from (select floor(extract(epoch from at) * 1000)::bigint as milliseconds) moment, generate_series(0, 9) place
$$;

-- The one hot table: a small row per open piece of work, gone when it is finished. Bodies are in append-only
-- logs under `ref`. `lease_until` is in no index, so that a claim is a heap-only update.
create table work (
  id text primary key collate "C",
  kind text not null collate "C" check (kind in ('job', 'delivery')),
  lane text not null collate "C" check (lane <> ''),
  tenant_id text collate "C",
  product_id text collate "C",
  ref text not null collate "C",
  run_at timestamptz not null,
  lease_until timestamptz,
  attempts smallint not null default 0,
  token uuid
) with (
  fillfactor = 50,
  autovacuum_vacuum_scale_factor = 0.01,
  autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_cost_delay = 0
);
create index work_due on work (kind, lane, run_at, id);
select protect_table('work', 'select, insert', 'select, insert, update, delete');

-- Workers vacuum `work` by count. Before PostgreSQL 17 only its owner may, and autovacuum has to do.
do $$ begin
  if current_setting('server_version_num')::int >= 170000 then
    execute 'grant maintain on work to pipecore_system';
  end if;
end $$;

create table dead_work (
  id text primary key collate "C",
  kind text not null collate "C",
  lane text not null collate "C",
  tenant_id text collate "C",
  product_id text collate "C",
  ref text not null collate "C",
  run_at timestamptz not null,
  attempts smallint not null,
  error text not null,
  died_at timestamptz not null
);
create index dead_work_of_kind on dead_work (kind, id);
select protect_table('dead_work', 'select', 'select, insert, delete');

create table jobs (
  id text not null collate "C",
  tenant_id text collate "C",
  product_id text collate "C",
  name text not null collate "C",
  payload text not null,
  trace_id text not null,
  created_at timestamptz not null,
  primary key (id)
) partition by range (id);
select protect_table('jobs', 'select, insert', 'select, insert');

create table job_attempts (
  id text not null collate "C",
  job_id text not null collate "C",
  tenant_id text collate "C",
  attempt smallint not null,
  outcome text not null,
  error text,
  started_at timestamptz not null,
  duration_ms int not null,
  primary key (id)
) partition by range (id);
create index job_attempts_of_job on job_attempts (job_id, id);
select protect_table('job_attempts', 'select', 'select, insert');

-- What was enqueued under a key. The platform's own jobs have the tenant_id ''.
create table job_keys (
  tenant_id text not null collate "C",
  name text not null collate "C",
  key text not null collate "C",
  job_id text not null collate "C",
  primary key (tenant_id, name, key)
);
select protect_table('job_keys', 'select, insert', 'select, insert, delete');
