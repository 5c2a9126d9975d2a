-- Stores payments, and the calls that will be made for them. Again does nothing: the answer to a commit may be lost.
-- Columns are named: one that a later release adds has its default while processes of this one still run.
create or replace function store_payments(p_payments jsonb, p_calls jsonb) returns void language plpgsql as $$
begin
  insert into payment_log (
    id, tenant_id, subject, provider, action, outcome, note, amount, answer_status, answer, webhook_id, duration_ms,
    trace_id, at
  )
  select
    id, tenant_id, subject, provider, action, outcome, note, amount, answer_status, answer, webhook_id, duration_ms,
    trace_id, at
  from jsonb_populate_recordset(null::payment_log, p_calls) on conflict (id) do nothing;
  insert into payments (
    id, tenant_id, provider, connection_id, flow, status, amount, currency, capture, captured, refunded,
    provider_payment_id, provider_checkout_id, checkout_id, items, subscription_id, method_id, reference,
    description, customer, metadata, installments, return_url, cancel_url, return_token, method_token, action,
    method, failure, dispute, details, windows, operation, told, check_at, expires_at, trace_id, created_at,
    authorized_at, confirmed_at, ended_at, updated_at
  )
  select
    id, tenant_id, provider, connection_id, flow, status, amount, currency, capture, captured, refunded,
    provider_payment_id, provider_checkout_id, checkout_id, items, subscription_id, method_id, reference,
    description, customer, metadata, installments, return_url, cancel_url, return_token, method_token, action,
    method, failure, dispute, details, windows, operation, told, check_at, expires_at, trace_id, created_at,
    authorized_at, confirmed_at, ended_at, updated_at
  from jsonb_populate_recordset(null::payments, p_payments) on conflict (id) do nothing;
end $$;
