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
  -- Of the system's DEK it is sealed under.
  totp_dek_version bigint,
  totp_enabled bigint not null check (totp_enabled in (0, 1)),
  totp_last_step bigint not null,
  created_at bigint not null,
  updated_at bigint not null,
  check ((totp_ciphertext is null) = (totp_dek_version is null))
);

create index app_user_expires_at on app_user (expires_at);

create index app_user_totp_dek_version on app_user (totp_dek_version, id) where totp_dek_version is not null;

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
  -- How many versions of a secret are kept that does not say so itself.
  max_versions bigint not null,
  created_at bigint not null,
  created_by text not null
);

-- Vaults that are gone, until a job has removed what they held. Nobody can open any of it: their DEKs went first.
create table deleted_vault (
  id text primary key,
  deleted_at bigint not null
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

-- The newest active one seals new values. A retiring one only opens what is not sealed again yet; of a destroyed one
-- nothing is left but its version, which no other DEK of the vault may have.
create table dek (
  vault_id text not null,
  version bigint not null,
  state text not null check (state in ('active', 'retiring', 'destroyed')),
  -- Null once it is destroyed.
  wrapped bytea,
  kek_version bigint not null,
  created_at bigint not null,
  primary key (vault_id, version),
  check ((wrapped is null) = (state = 'destroyed'))
);

-- Destroyed DEKs are not in it: no KEK is kept for them.
create index dek_kek_version on dek (kek_version, vault_id, version) where wrapped is not null;

create table secret (
  id text primary key,
  -- Of a vault, or of one that is deleted and not yet cleared away.
  vault_id text not null,
  name text collate "C" not null,
  -- The newest version; 0 if the secret has none yet, only metadata.
  current_version bigint not null,
  -- Null: as many as the vault says.
  max_versions bigint,
  -- JSON object of strings.
  metadata text not null,
  -- Of the secret as a whole; a version may end sooner.
  expires_at bigint,
  -- When the value that is read without naming a version ends: the sooner of the two.
  due_at bigint,
  -- When that is to be announced next; null if it was announced for the last time.
  announce_at bigint,
  -- 1 if some version is not in the trash.
  live bigint not null check (live in (0, 1)),
  -- When the last of its versions in the trash came there; null if none is in it.
  trashed_at bigint,
  created_at bigint not null,
  created_by text not null,
  updated_at bigint not null,
  unique (vault_id, name),
  -- For its versions, which refer to both.
  unique (id, vault_id),
  constraint secret_without_version check (
    current_version > 0 or (live = 0 and trashed_at is null and due_at is null and announce_at is null)
  )
);

create index secret_live on secret (vault_id, name) where live = 1;

create index secret_trashed on secret (vault_id, name) where trashed_at is not null;

-- For the sweep alone: with the same condition as above PostgreSQL would list the trash of a vault by it, and sort.
create index secret_trashed_at on secret (trashed_at) where trashed_at > 0;

create index secret_expires_at on secret (expires_at) where expires_at is not null;

create index secret_due_at on secret (vault_id, due_at, name) where live = 1 and due_at is not null;

create index secret_announce_at on secret (announce_at) where announce_at is not null;

create table secret_version (
  secret_id text not null,
  -- Of the secret, and moves with it. A DEK is destroyed once the index below has no version left that it sealed, so a
  -- version under another vault would be lost.
  vault_id text not null,
  version bigint not null,
  -- Null unless it is in the trash. These stand before the ciphertext: SQLite reads a row from its start.
  deleted_at bigint,
  deleted_by text,
  -- When it was restored beside newer versions; null otherwise. A write that needs its place returns it to the trash.
  restored_at bigint,
  -- Null once it is destroyed.
  ciphertext bytea,
  -- Of the DEK it is sealed under, as the ciphertext begins with it; null once it is destroyed.
  dek_version bigint,
  encoding text not null check (encoding in ('utf8', 'base64')),
  content_type text,
  expires_at bigint,
  created_at bigint not null,
  -- user:<id> or application:<id>, as in grants.
  created_by text not null,
  destroyed_at bigint,
  destroyed_by text,
  -- Written now and then: the audit log has every read.
  last_read_at bigint,
  last_read_by text,
  primary key (secret_id, version),
  foreign key (secret_id, vault_id) references secret (id, vault_id) on update cascade,
  check ((ciphertext is null) = (dek_version is null))
);

-- However much of a name is in the trash, a write finds the versions that are not.
create index secret_version_kept on secret_version (secret_id, version) where deleted_at is null;

create index secret_version_expires_at on secret_version (expires_at) where expires_at is not null and ciphertext is not null;

-- What is sealed under the old DEKs of a vault, page by page: a look at the secrets of the vault would go through all of
-- them to find the last few, or none.
create index secret_version_dek_version on secret_version (vault_id, dek_version, secret_id, version)
  where dek_version is not null;

-- The words of the names of secrets that are not in the trash, for search.
create table secret_word (
  vault_id text not null,
  word text collate "C" not null,
  name text collate "C" not null,
  secret_id text not null references secret (id) on delete cascade,
  primary key (vault_id, word, name)
);

create index secret_word_secret_id on secret_word (secret_id);

-- The metadata of secrets that are not in the trash, for search.
create table secret_label (
  vault_id text not null,
  key text collate "C" not null,
  value text collate "C" not null,
  name text collate "C" not null,
  secret_id text not null references secret (id) on delete cascade,
  primary key (vault_id, key, value, name)
);

create index secret_label_secret_id on secret_label (secret_id);

-- Where the versions that are references point, by the names they give; a null version is the newest.
create table secret_reference (
  secret_id text not null,
  version bigint not null,
  target_vault text collate "C" not null,
  target_name text collate "C" not null,
  target_version bigint,
  primary key (secret_id, version),
  foreign key (secret_id, version) references secret_version (secret_id, version) on delete cascade
);

create index secret_reference_target on secret_reference (target_vault, target_name);

-- Names that secrets were removed from, with their last version: a next one goes on from there, so that no entity tag
-- stands for two values.
create table given_up_name (
  vault_id text not null,
  name text collate "C" not null,
  version bigint not null,
  primary key (vault_id, name)
);

create table break_glass (
  id text primary key,
  secret_id text not null references secret (id) on delete cascade,
  version bigint not null,
  reason text not null,
  at bigint not null,
  by_user text not null
);

create index break_glass_secret_id on break_glass (secret_id, id);

-- What the owners of a vault should hear of. JSON; no value of a secret is ever in it.
create table event (
  id text primary key,
  vault_id text not null,
  kind text not null,
  payload text not null,
  created_at bigint not null
);

create index event_vault_id on event (vault_id, id);

create index event_kind on event (vault_id, kind, id);

create index event_created_at on event (created_at);

create table signing_key (
  id text primary key,
  purpose text not null check (purpose in ('access', 'refresh')),
  ciphertext bytea not null,
  -- Of the system's DEK it is sealed under. Without an index: there are three keys or so.
  dek_version bigint not null,
  created_at bigint not null
);

create table outbox (
  id text primary key,
  event text not null,
  created_at bigint not null
);

create index outbox_created_at on outbox (created_at);
