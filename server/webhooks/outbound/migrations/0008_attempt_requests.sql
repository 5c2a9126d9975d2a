-- What a call took, by its parts, and what was sent. Null where there was no such part, where nothing left, and of
-- attempts from before. Only what does not follow from the event and the rest of the row is stored of the headers:
-- the signature, and the names of the endpoint's own headers, with spaces between them.
alter table delivery_attempts
  add column lookup_ms integer,
  add column connect_ms integer,
  add column first_byte_ms integer,
  add column body_sha256 bytea,
  -- Of the event's type, which the body had.
  add column version integer,
  add column signature text,
  add column header_names text;
