-- The exact bytes of every entry, and what an append must look up or continue. `written_at` has no index: it grows with
-- `seq`, and a search by time finds it by `seq`. What questions look for has a table of its own, `audit_term`, which is
-- filled behind the log: each column and index here would make every append slower.
create table audit_entry (
  seq bigint primary key,
  event_id text collate "C" not null unique,
  entry bytea not null,
  leaf bytea not null,
  written_at text not null
);

-- A row that always exists, because a row that does not exist cannot be locked or compared.
create table audit_head (
  id bigint primary key check (id = 1),
  size bigint not null,
  chain bytea not null
);

insert into audit_head (id, size, chain) values (1, 0, cast('' as bytea));

-- Complete subtrees of 256^level leaves, level >= 1, the ordinal-th from the left.
create table audit_tile (
  level bigint not null check (level >= 1),
  ordinal bigint not null,
  hash bytea not null,
  primary key (level, ordinal)
);
