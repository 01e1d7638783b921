-- The exact bytes of every entry. The columns after `leaf` are only an index made from the bytes. Each column and index
-- makes every append slower. So `prev`, `peer`, `changes` and the chain hash have no column, and `written_at` has no index:
-- it grows with `seq`, and queries find it by `seq`.
create table audit_entry (
  seq bigint primary key,
  event_id text collate "C" not null unique,
  entry bytea not null,
  leaf bytea not null,
  written_at text not null,
  action text not null,
  decision text not null,
  actor_id text not null,
  actor_name text,
  vault text
);

create index audit_entry_action on audit_entry (action, seq);

create index audit_entry_actor_id on audit_entry (actor_id, seq);

create index audit_entry_actor_name on audit_entry (actor_name, seq) where actor_name is not null;

create index audit_entry_vault on audit_entry (vault, seq) where vault is not null;

create index audit_entry_deny on audit_entry (seq) where decision = 'deny';

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
