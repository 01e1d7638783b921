-- The sinks of the last start, and how far each is. In this database, so that a restored backup takes the log and the
-- positions back together: see src/sinks.
create table audit_sink (
  name text collate "C" primary key,
  -- What the sinks file said, as canonical JSON. Names files, and never has what is in them.
  settings text not null,
  -- The sink has confirmed every entry before this one.
  next_seq bigint not null check (next_seq >= 0)
);
