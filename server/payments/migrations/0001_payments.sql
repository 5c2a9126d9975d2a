-- One intent to take money once. Amounts are minor units of ISO 4217.
create table payments (
  id text primary key collate "C",
  tenant_id text not null collate "C" references tenants (id),
  provider text not null,
  connection_id text not null collate "C",
  flow text not null check (flow in ('direct', 'checkout')),
  status text not null,
  amount bigint not null check (amount > 0),
  currency text not null,
  capture text not null check (capture in ('automatic', 'manual')),
  captured bigint not null default 0,
  refunded bigint not null default 0 check (refunded >= 0),
  provider_payment_id text,
  provider_checkout_id text,
  checkout_id text unique collate "C",
  items text,
  subscription_id text collate "C",
  method_id text collate "C",
  reference text,
  description text,
  customer text not null,
  metadata text not null,
  installments smallint not null default 1,
  return_url text,
  cancel_url text,
  -- Part of the URL the customer comes back to: whoever has it speaks of this payment and no other.
  return_token text not null unique collate "C",
  -- What the customer's browser made, until it was used.
  method_token text,
  action text,
  method text,
  failure text,
  dispute text,
  details text not null default '{}',
  -- What may be done until when, as the provider and the tenant had it when the payment was made.
  windows text not null,
  -- The one call that acts on this payment now, or whose end nobody knows.
  operation text,
  -- Whether payment.created was told.
  told boolean not null default false,
  check_at timestamptz,
  expires_at timestamptz,
  trace_id text not null,
  created_at timestamptz not null,
  authorized_at timestamptz,
  confirmed_at timestamptz,
  ended_at timestamptz,
  updated_at timestamptz not null
) with (fillfactor = 70);
create unique index payments_of_tenant on payments (tenant_id, id);
create unique index payments_by_provider_id on payments (tenant_id, provider, provider_payment_id) where provider_payment_id is not null;
create index payments_by_provider_checkout on payments (tenant_id, provider, provider_checkout_id) where provider_checkout_id is not null;
create index payments_by_reference on payments (tenant_id, reference) where reference is not null;
create index payments_of_subscription on payments (tenant_id, subscription_id) where subscription_id is not null;
create index payments_age on payments (tenant_id, created_at);
create index payments_due on payments (check_at) where check_at is not null;
select protect_table('payments', 'select, insert, update', 'select, update, delete');

create table payment_refunds (
  id text primary key collate "C",
  tenant_id text not null collate "C",
  payment_id text not null collate "C",
  provider_refund_id text,
  amount bigint not null check (amount > 0),
  status text not null,
  kind text not null default 'refund',
  reason text,
  reference text,
  -- Asked of us, or made at the provider.
  source text not null check (source in ('api', 'provider')),
  failure text,
  created_at timestamptz not null,
  settled_at timestamptz,
  foreign key (tenant_id, payment_id) references payments (tenant_id, id) on delete cascade
);
create index payment_refunds_of_payment on payment_refunds (tenant_id, payment_id, id);
select protect_table('payment_refunds', 'select, insert, update', 'select, delete');

-- A customer's way to pay that was saved at a provider: its token there, sealed.
create table payment_methods (
  id text primary key collate "C",
  tenant_id text not null collate "C" references tenants (id),
  provider text not null,
  connection_id text not null collate "C",
  status text not null,
  customer text not null,
  customer_reference text,
  sealed_token text,
  provider_inscription_id text,
  -- When the customer's return began to be followed: two browsers must not finish at once.
  finishing_at timestamptz,
  summary text,
  failure text,
  action text,
  return_url text,
  return_token text not null unique collate "C",
  trace_id text not null,
  created_at timestamptz not null,
  updated_at timestamptz not null
);
create unique index payment_methods_of_tenant on payment_methods (tenant_id, id);
create index payment_methods_of_customer on payment_methods (tenant_id, customer_reference, id);
create index payment_methods_pending on payment_methods (created_at) where status = 'pending';
select protect_table('payment_methods', 'select, insert, update', 'select');

create table payment_subscriptions (
  id text primary key collate "C",
  tenant_id text not null collate "C" references tenants (id),
  provider text not null,
  connection_id text not null collate "C",
  -- `emulated`: the provider knows no subscriptions and PipeCore charges each period.
  mode text not null check (mode in ('native', 'emulated')),
  status text not null,
  amount bigint not null check (amount > 0),
  currency text not null,
  every text not null check (every in ('day', 'week', 'month', 'year')),
  every_count smallint not null check (every_count > 0),
  description text not null,
  reference text,
  customer text not null,
  metadata text not null,
  method_id text collate "C",
  method_token text,
  provider_subscription_id text,
  trial_end timestamptz,
  -- The first day of the first period: what later periods are counted from.
  anchor timestamptz not null,
  periods integer not null default 0,
  period_start timestamptz,
  period_end timestamptz,
  cancel_at_period_end boolean not null default false,
  failed_attempts smallint not null default 0,
  action text,
  failure text,
  details text not null default '{}',
  operation text,
  return_url text,
  return_token text not null unique collate "C",
  check_at timestamptz,
  told boolean not null default false,
  trace_id text not null,
  created_at timestamptz not null,
  ended_at timestamptz,
  updated_at timestamptz not null
);
create unique index payment_subscriptions_of_tenant on payment_subscriptions (tenant_id, id);
create unique index payment_subscriptions_by_provider_id on payment_subscriptions (tenant_id, provider, provider_subscription_id) where provider_subscription_id is not null;
create index payment_subscriptions_due on payment_subscriptions (check_at) where check_at is not null;
select protect_table('payment_subscriptions', 'select, insert, update', 'select, update, delete');

-- One row per period's charge: what makes a renewal one event.
create table payment_subscription_charges (
  tenant_id text not null collate "C",
  subscription_id text not null collate "C",
  provider_charge_id text not null,
  status text not null,
  amount bigint not null,
  currency text not null,
  period_start timestamptz,
  period_end timestamptz,
  payment_id text collate "C",
  is_first boolean not null,
  -- How often it was tried: each failure is told once.
  attempt smallint not null default 1,
  failure text,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (tenant_id, subscription_id, provider_charge_id),
  foreign key (tenant_id, subscription_id) references payment_subscriptions (tenant_id, id) on delete cascade
);
select protect_table('payment_subscription_charges', 'select, insert, update', 'select, delete');

-- Every call to a provider, every webhook, return and decision: the story of each payment and the log of each tenant.
-- A call is written before it is made; without an outcome it is one whose end nobody saw.
create table payment_log (
  id text primary key collate "C",
  tenant_id text not null collate "C",
  subject text not null collate "C",
  provider text not null,
  action text not null,
  outcome text,
  note text,
  amount bigint,
  answer_status smallint,
  answer text,
  webhook_id text collate "C",
  duration_ms integer,
  trace_id text not null,
  at timestamptz not null
) with (fillfactor = 80);
create index payment_log_of_subject on payment_log (tenant_id, subject, id);
create index payment_log_of_tenant on payment_log (tenant_id, id);
select protect_table('payment_log', 'select, insert, update', 'select, delete');

create table payment_reconciliations (
  id text primary key collate "C",
  tenant_id text not null collate "C" references tenants (id),
  provider text not null,
  connection_id text not null collate "C",
  since timestamptz not null,
  state text not null check (state in ('running', 'done', 'failed')),
  checked integer not null default 0,
  drifts text not null default '[]',
  -- What came of it, in plain words.
  note text,
  error text,
  created_at timestamptz not null,
  ended_at timestamptz
);
create index payment_reconciliations_of_tenant on payment_reconciliations (tenant_id, id);
select protect_table('payment_reconciliations', 'select, insert, update', 'select, delete');
