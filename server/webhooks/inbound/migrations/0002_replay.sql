-- A refused webhook can be verified again once the secret is mended: that takes its request as it came, signature
-- included, so this one is kept sealed until then.
alter table inbound_webhooks add column sealed_request text, add column accepted_at timestamptz;
grant update (state, connection_id, sealed_request, accepted_at) on inbound_webhooks to pipecore_system;

create index inbound_facts_of_webhook on inbound_facts (webhook_id);
