create table app_user (
  id text primary key,
  username text collate "C" not null unique,
  role text not null check (role in ('admin', 'developer', 'ceo')),
  password_hash text not null,
  -- A one-time password signs in once, and then is good for nothing but being changed.
  password_state text not null check (password_state in ('chosen', 'one_time', 'one_time_used')),
  disabled bigint not null check (disabled in (0, 1)),
  expires_at bigint,
  -- Sealed; enabled once a first code has been given. A code is good for steps after the last one only.
  totp_ciphertext bytea,
  totp_enabled bigint not null check (totp_enabled in (0, 1)),
  totp_last_step bigint not null,
  created_at bigint not null,
  updated_at bigint not null
);

create index app_user_expires_at on app_user (expires_at);

create table recovery_code (
  user_id text not null references app_user (id) on delete cascade,
  hash bytea not null,
  primary key (user_id, hash)
);

create table session (
  id text primary key,
  user_id text not null references app_user (id) on delete cascade,
  created_at bigint not null,
  expires_at bigint not null,
  ended_at bigint,
  ip text not null,
  user_agent text not null
);

create index session_user_id on session (user_id);

create index session_expires_at on session (expires_at);

-- One chain of tokens a session. Only hashes are kept; a successor is derived from the token it follows.
create table refresh_token (
  hash bytea primary key,
  session_id text not null references session (id) on delete cascade,
  created_at bigint not null,
  used_at bigint
);

create index refresh_token_session_id on refresh_token (session_id);

-- Failed sign-ins by subject: a hash of the name that was tried, whether it exists or not, or an address.
create table sign_in_failure (
  subject text primary key,
  failures bigint not null,
  last_at bigint not null,
  locked_until bigint not null
);

create index sign_in_failure_last_at on sign_in_failure (last_at);

create table application (
  id text primary key,
  name text collate "C" not null unique,
  description text not null,
  -- JSON array; empty: from anywhere.
  allowed_cidrs text not null,
  disabled bigint not null check (disabled in (0, 1)),
  expires_at bigint,
  created_at bigint not null,
  created_by text not null
);

create index application_expires_at on application (expires_at);

create table application_credential (
  id text primary key,
  application_id text not null references application (id) on delete cascade,
  secret_hash bytea not null unique,
  created_at bigint not null,
  last_used_at bigint
);

create index application_credential_application_id on application_credential (application_id);

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
  -- user:<id> or application:<id>: names can be given away, ids cannot.
  principal text not null,
  owner bigint not null check (owner in (0, 1)),
  -- JSON arrays of verbs, and of networks (empty: from anywhere).
  secrets text not null,
  keys text not null,
  allowed_cidrs text not null,
  path_prefix text,
  expires_at bigint,
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
  purpose text not null check (purpose in ('access', 'refresh')),
  ciphertext bytea not null,
  created_at bigint not null
);

create table outbox (
  id text primary key,
  event text not null,
  created_at bigint not null
);

create index outbox_created_at on outbox (created_at);
