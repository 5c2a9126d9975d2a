-- A batch of events may be of many tenants: its answer is remembered by the system, under its caller.
grant insert, update on idempotency_keys to pipecore_system;
