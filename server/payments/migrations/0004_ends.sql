-- What the end of a call writes of its payment and its log, and what it is written for. Rows of the whole tables were
-- filled three times from JSON for it, which took as long as the updates.
create type ended_call as (
  tenant_id text,
  id text,
  known_operation text,
  known_status text,
  known_told boolean,
  known_updated_at timestamptz,
  status text,
  captured bigint,
  provider_payment_id text,
  provider_checkout_id text,
  method_token text,
  action text,
  method text,
  failure text,
  dispute text,
  details text,
  operation text,
  told boolean,
  check_at timestamptz,
  expires_at timestamptz,
  authorized_at timestamptz,
  confirmed_at timestamptz,
  ended_at timestamptz,
  updated_at timestamptz,
  log_id text,
  outcome text,
  duration_ms integer,
  answer_status smallint,
  answer text,
  note text
);

-- As `end_calls` of three arguments, which processes of the release before still call.
create function end_calls(p_ends jsonb) returns boolean[] language plpgsql as $$
declare
  one ended_call;
  ended boolean[] = '{}';
begin
  for one in select * from jsonb_populate_recordset(null::ended_call, p_ends) loop
    update payments set
      status = one.status,
      captured = one.captured,
      provider_payment_id = one.provider_payment_id,
      provider_checkout_id = one.provider_checkout_id,
      method_token = one.method_token,
      action = one.action,
      method = one.method,
      failure = one.failure,
      dispute = one.dispute,
      details = one.details,
      operation = one.operation,
      told = one.told,
      check_at = one.check_at,
      expires_at = one.expires_at,
      authorized_at = one.authorized_at,
      confirmed_at = one.confirmed_at,
      ended_at = one.ended_at,
      updated_at = one.updated_at
    where tenant_id = one.tenant_id and id = one.id and operation = one.known_operation
      and status = one.known_status and told = one.known_told and updated_at = one.known_updated_at;
    ended = ended || found;
    if found then
      update payment_log set
        outcome = one.outcome,
        duration_ms = one.duration_ms,
        answer_status = one.answer_status,
        answer = one.answer,
        note = coalesce(one.note, note)
      where tenant_id = one.tenant_id and id = one.log_id;
    end if;
  end loop;
  return ended;
end $$;
revoke execute on function end_calls(jsonb) from public;
grant execute on function end_calls(jsonb) to pipecore_app;
