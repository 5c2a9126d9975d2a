-- Ids begin with the time of their creation. And where a table has no statistics yet, an index of a tenant's payments
-- by time was taken for the one of a payment's id.
drop index payments_age;
-- Most payments have none, and every index is written twice per payment.
alter table payments drop constraint payments_checkout_id_key;
create unique index payments_by_checkout on payments (checkout_id) where checkout_id is not null;

-- The two writes of a payment's call, for payments of one tenant that are written together. Functions keep the
-- plans: making these took longer than carrying them out.

-- Stores payments, and the calls that will be made for them.
create function store_payments(p_payments jsonb, p_calls jsonb) returns void language plpgsql as $$
begin
  insert into payment_log select * from jsonb_populate_recordset(null::payment_log, p_calls);
  insert into payments select * from jsonb_populate_recordset(null::payments, p_payments);
end $$;
revoke execute on function store_payments(jsonb, jsonb) from public;
grant execute on function store_payments(jsonb, jsonb) to pipecore_app;

-- Writes how calls ended and what that makes of their payments; answers, in order, for which of them. A payment that
-- somebody touched since it was read as `known` is left alone, with its log.
create function end_calls(p_known jsonb, p_payments jsonb, p_calls jsonb) returns boolean[] language plpgsql as $$
declare
  known payments;
  following payments;
  log payment_log;
  ended boolean[] = '{}';
begin
  for i in 0 .. jsonb_array_length(p_known) - 1 loop
    known = jsonb_populate_record(null::payments, p_known -> i);
    following = jsonb_populate_record(null::payments, p_payments -> i);
    update payments set
      status = following.status,
      captured = following.captured,
      provider_payment_id = following.provider_payment_id,
      provider_checkout_id = following.provider_checkout_id,
      method_token = following.method_token,
      action = following.action,
      method = following.method,
      failure = following.failure,
      dispute = following.dispute,
      details = following.details,
      operation = following.operation,
      told = following.told,
      check_at = following.check_at,
      expires_at = following.expires_at,
      authorized_at = following.authorized_at,
      confirmed_at = following.confirmed_at,
      ended_at = following.ended_at,
      updated_at = following.updated_at
    where tenant_id = known.tenant_id and id = known.id and operation = known.operation
      and status = known.status and told = known.told and updated_at = known.updated_at;
    ended = ended || found;
    if found then
      log = jsonb_populate_record(null::payment_log, p_calls -> i);
      update payment_log set
        outcome = log.outcome,
        duration_ms = log.duration_ms,
        answer_status = log.answer_status,
        answer = log.answer,
        note = coalesce(log.note, note)
      where tenant_id = log.tenant_id and id = log.id;
    end if;
  end loop;
  return ended;
end $$;
revoke execute on function end_calls(jsonb, jsonb, jsonb) from public;
grant execute on function end_calls(jsonb, jsonb, jsonb) to pipecore_app;
