create table app_user (
  id text primary key,
  username text not null unique,
  role text not null check (role in ('admin', 'developer', 'ceo')),
  password_hash text not null,
  created_at bigint not null,
  updated_at bigint not null
);

create table session (
  id text primary key,
  user_id text not null references app_user (id) on delete cascade,
  created_at bigint not null,
  expires_at bigint not null,
  ended_at bigint
);

create index session_user_id on session (user_id);

create index session_expires_at on session (expires_at);

-- Names sort and compare by their bytes, whatever the locale of the server: lists page by them.
create table vault (
  id text primary key,
  name text collate "C" not null unique,
  description text not null,
  created_at bigint not null,
  created_by text not null
);

create table vault_grant (
  vault_id text not null references vault (id) on delete cascade,
  principal text not null,
  owner bigint not null check (owner in (0, 1)),
  created_at bigint not null,
  created_by text not null,
  primary key (vault_id, principal)
);

create index vault_grant_principal on vault_grant (principal);

create table dek (
  vault_id text not null,
  version bigint not null,
  wrapped bytea not null,
  kek_version bigint not null,
  created_at bigint not null,
  primary key (vault_id, version)
);

create table secret (
  id text primary key,
  vault_id text not null references vault (id),
  name text collate "C" not null,
  current_version bigint not null,
  created_at bigint not null,
  updated_at bigint not null,
  unique (vault_id, name)
);

create table secret_version (
  secret_id text not null references secret (id),
  version bigint not null,
  ciphertext bytea not null,
  encoding text not null check (encoding in ('utf8', 'base64')),
  content_type text,
  created_at bigint not null,
  created_by text not null,
  primary key (secret_id, version)
);

create table signing_key (
  id text primary key,
  ciphertext bytea not null,
  created_at bigint not null
);

create table outbox (
  id text primary key,
  event text not null,
  created_at bigint not null
);

create index outbox_created_at on outbox (created_at);
