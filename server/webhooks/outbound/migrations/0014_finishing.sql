-- Attempts are read by their events, and by the feed by their numbers: nobody needs them by endpoint or by id alone.
-- One index less is written for every delivery where the key is the index by event.
drop index delivery_attempts_of_endpoint;
drop index delivery_attempts_of_event;
alter table delivery_attempts drop constraint delivery_attempts_pkey;
alter table delivery_attempts add primary key (event_id, id);

-- Ends deliveries and stores their attempts, both of those only that are still held. Returns those that are not.
create function finish_deliveries(
  p_ids text[], p_tokens uuid[], p_outcomes text[], p_run_ats timestamptz[], p_errors text[], p_now timestamptz,
  p_attempt_tokens uuid[], p_attempt_ids text[], p_delivery_ids text[], p_event_ids text[], p_endpoint_ids text[],
  p_tenant_ids text[], p_attempts smallint[], p_attempt_outcomes text[], p_statuses smallint[],
  p_attempt_errors text[], p_responses text[], p_durations int[], p_next_attempts timestamptz[],
  p_attempted_at timestamptz[], p_numbers bigint[], p_lookups int[], p_connects int[], p_first_bytes int[],
  p_hashes bytea[], p_versions int[], p_signatures text[], p_header_names text[]
) returns table (id text, token uuid)
language plpgsql
as $$
#variable_conflict use_column
begin return query
  with held as materialized (
    select f.id, f.token from finish_work(p_ids, p_tokens, p_outcomes, p_run_ats, p_errors, p_now) f
  ),
  recorded as (
    insert into delivery_attempts (id, delivery_id, event_id, endpoint_id, tenant_id, attempt, outcome, status,
      error, response, duration_ms, next_attempt_at, attempted_at, number, lookup_ms, connect_ms, first_byte_ms,
      body_sha256, version, signature, header_names)
    select a.id, a.delivery_id, a.event_id, a.endpoint_id, a.tenant_id, a.attempt, a.outcome, a.status,
      a.error, a.response, a.duration_ms, a.next_attempt_at, a.attempted_at, a.number, a.lookup_ms, a.connect_ms,
      a.first_byte_ms, a.body_sha256, a.version, a.signature, a.header_names
    from held h
    join (
      select unnest(p_attempt_tokens) as token, unnest(p_attempt_ids) as id, unnest(p_delivery_ids) as delivery_id,
        unnest(p_event_ids) as event_id, unnest(p_endpoint_ids) as endpoint_id, unnest(p_tenant_ids) as tenant_id,
        unnest(p_attempts) as attempt, unnest(p_attempt_outcomes) as outcome, unnest(p_statuses) as status,
        unnest(p_attempt_errors) as error, unnest(p_responses) as response, unnest(p_durations) as duration_ms,
        unnest(p_next_attempts) as next_attempt_at, unnest(p_attempted_at) as attempted_at,
        unnest(p_numbers) as number, unnest(p_lookups) as lookup_ms, unnest(p_connects) as connect_ms,
        unnest(p_first_bytes) as first_byte_ms, unnest(p_hashes) as body_sha256, unnest(p_versions) as version,
        unnest(p_signatures) as signature, unnest(p_header_names) as header_names
    ) a on a.delivery_id = h.id and a.token = h.token
  )
  select given.id, given.token from unnest(p_ids, p_tokens) as given (id, token)
  where not exists (select from held h where h.id = given.id and h.token = given.token);
end $$;
revoke execute on function finish_deliveries from public;
grant execute on function finish_deliveries to pipecore_system;
