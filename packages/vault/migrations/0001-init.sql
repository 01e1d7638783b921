create table app_user (
  id text primary key,
  username text collate "C" not null unique,
  role text not null check (role in ('admin', 'developer', 'ceo')),
  password_hash text not null,
  -- A one-time password signs in once. After that it can only be changed.
  password_state text not null check (password_state in ('chosen', 'one_time', 'one_time_used')),
  disabled bigint not null check (disabled in (0, 1)),
  expires_at bigint,
  -- When the expiry must be announced next. Null after the last announcement.
  announce_at bigint,
  -- Sealed. TOTP is enabled once a first code was given. A code is valid only for steps after the last one.
  totp_ciphertext bytea,
  -- The version of the system's DEK that seals it.
  totp_dek_version bigint,
  totp_enabled bigint not null check (totp_enabled in (0, 1)),
  totp_last_step bigint not null,
  created_at bigint not null,
  updated_at bigint not null,
  check ((totp_ciphertext is null) = (totp_dek_version is null))
);

-- For the sweeps. An expired user is disabled, and an announcement to nobody is not made.
create index app_user_expires_at on app_user (expires_at, id) where disabled = 0 and expires_at is not null;

create index app_user_announce_at on app_user (announce_at, id) where disabled = 0 and announce_at is not null;

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

create index session_ended_at on session (ended_at) where ended_at is not null;

-- One chain of tokens per session. Only hashes are kept. A successor is derived from the token before it.
create table refresh_token (
  hash bytea primary key,
  session_id text not null references session (id) on delete cascade,
  created_at bigint not null,
  used_at bigint
);

create index refresh_token_session_id on refresh_token (session_id);

-- Failed sign-ins by subject: a hash of the typed name, whether it exists or not, at a network or in a session; or a
-- network.
create table sign_in_failure (
  subject text collate "C" primary key,
  failures bigint not null,
  last_at bigint not null,
  locked_until bigint not null
);

create index sign_in_failure_last_at on sign_in_failure (last_at);

create table application (
  id text primary key,
  name text collate "C" not null unique,
  description text not null,
  -- JSON array. Empty means from anywhere.
  allowed_cidrs text not null,
  disabled bigint not null check (disabled in (0, 1)),
  expires_at bigint,
  announce_at bigint,
  created_at bigint not null,
  created_by text not null
);

create index application_expires_at on application (expires_at, id) where disabled = 0 and expires_at is not null;

create index application_announce_at on application (announce_at, id) where disabled = 0 and announce_at is not null;

create table application_credential (
  id text primary key,
  application_id text not null references application (id) on delete cascade,
  secret_hash bytea not null unique,
  expires_at bigint,
  announce_at bigint,
  -- When the expiry was recorded. A week later the row is removed.
  expired_at bigint,
  created_at bigint not null,
  last_used_at bigint
);

create index application_credential_application_id on application_credential (application_id);

create index application_credential_expires_at on application_credential (expires_at, id)
  where expired_at is null and expires_at is not null;

create index application_credential_announce_at on application_credential (announce_at, id)
  where expired_at is null and announce_at is not null;

create index application_credential_expired_at on application_credential (expired_at) where expired_at is not null;

-- Names sort and compare by their bytes, whatever the locale of the server, because lists are paged by name.
create table vault (
  id text primary key,
  name text collate "C" not null unique,
  description text not null,
  -- How many versions are kept of a secret that has no limit of its own.
  max_versions bigint not null,
  created_at bigint not null,
  created_by text not null
);

-- Each new vault counts those that its maker has made before.
create index vault_created_by on vault (created_by);

-- Deleted vaults, until a job has deleted their rows. Nobody can open their values: the DEKs were deleted first.
create table deleted_vault (
  id text primary key,
  deleted_at bigint not null
);

create index deleted_vault_deleted_at on deleted_vault (deleted_at, id);

create table vault_grant (
  vault_id text not null references vault (id) on delete cascade,
  -- user:<id> or application:<id>. A name can pass to another account, an id cannot.
  principal text not null,
  owner bigint not null check (owner in (0, 1)),
  -- JSON arrays of verbs, and of networks (empty means from anywhere).
  secrets text not null,
  keys text not null,
  allowed_cidrs text not null,
  path_prefix text,
  expires_at bigint,
  announce_at bigint,
  created_at bigint not null,
  created_by text not null,
  primary key (vault_id, principal)
);

create index vault_grant_principal on vault_grant (principal);

create index vault_grant_expires_at on vault_grant (expires_at, vault_id, principal) where expires_at is not null;

create index vault_grant_announce_at on vault_grant (announce_at, vault_id, principal) where announce_at is not null;

-- The newest active DEK seals new values. A retiring DEK only opens values that are not resealed yet. Only the version
-- of a destroyed DEK is left, and no other DEK of the vault may have it.
create table dek (
  vault_id text not null,
  version bigint not null,
  state text not null check (state in ('active', 'retiring', 'destroyed')),
  -- Null once the DEK is destroyed.
  wrapped bytea,
  kek_version bigint not null,
  created_at bigint not null,
  -- When it first sealed a new value. Null if it has sealed nothing, or only values that were resealed.
  first_used_at bigint,
  primary key (vault_id, version),
  check ((wrapped is null) = (state = 'destroyed'))
);

-- The index leaves out destroyed DEKs: no KEK is kept for them.
create index dek_kek_version on dek (kek_version, vault_id, version) where wrapped is not null;

-- The schedule finds the DEKs that are due for rotation.
create index dek_first_used_at on dek (first_used_at) where state = 'active' and first_used_at is not null;

create index dek_retiring on dek (vault_id, version) where state = 'retiring';

-- KEKs that an admin destroys. From the insert on, no DEK wrapped by the KEK is stored any more.
create table kek_destruction (
  kek_version bigint primary key,
  asked_at bigint not null,
  asked_by text not null,
  -- Null until kek-service has destroyed the KEK.
  done_at bigint
);

create index kek_destruction_open on kek_destruction (kek_version) where done_at is null;

-- A rotation of DEKs reseals the values of its vaults under new DEKs. A rotation of the KEK rewraps all DEKs.
create table rotation (
  id text primary key,
  kind text not null check (kind in ('dek', 'kek')),
  state text not null check (state in ('running', 'paused', 'cancelled', 'finished')),
  -- The vault of a rotation of one vault. Null for a rotation of all vaults, and for the KEK.
  vault_id text,
  -- The KEK version that a KEK rotation has made. Null until kek-service has made it.
  kek_version bigint,
  -- Rows to seal again, or DEKs to rewrap. While a DEK rotation is open, rotation_vault has the counts.
  total bigint not null,
  done bigint not null,
  failed bigint not null,
  started_at bigint not null,
  -- user:<id>, webhook:<id> …; service:cardea for the schedule.
  started_by text not null,
  paused_at bigint,
  paused_ms bigint not null,
  finished_at bigint,
  check (kind = 'dek' or vault_id is null),
  check ((finished_at is null) = (state in ('running', 'paused')))
);

-- At most one KEK rotation is open.
create unique index rotation_one_kek on rotation (kind) where kind = 'kek' and finished_at is null;

create index rotation_open on rotation (started_at, id) where finished_at is null;

create index rotation_started_at on rotation (started_at, id);

create index rotation_kind on rotation (kind, started_at);

-- The vaults of a DEK rotation, while it is open. The chain of the system's own DEKs is among them.
create table rotation_vault (
  rotation_id text not null references rotation (id) on delete cascade,
  vault_id text not null,
  state text not null check (state in ('pending', 'running', 'finished')),
  -- The DEK that the rotation has added. Null until then.
  to_version bigint,
  -- Null until the rows are counted.
  total bigint,
  done bigint not null,
  failed bigint not null,
  -- One run at a time works on a vault. It renews its claim with each page.
  claimed_by text,
  claimed_until bigint,
  primary key (rotation_id, vault_id)
);

create index rotation_vault_open on rotation_vault (rotation_id, state, vault_id) where state <> 'finished';

-- Rows that a rotation could not open. They stay as they are, and keep the DEK that sealed them.
create table unopened_row (
  -- The kind of a Resealable; dek for a DEK that could not be unwrapped.
  kind text not null,
  vault_id text not null,
  -- The id of the secret, the user or the key; of a DEK the id of its vault.
  id text not null,
  -- The version of the secret or of the DEK; 0 for a row without versions.
  version bigint not null,
  -- Null for a DEK.
  dek_version bigint,
  -- The name of the secret when it was found.
  name text,
  reason text not null,
  -- The last rotation that met it.
  rotation_id text not null,
  found_at bigint not null,
  primary key (kind, vault_id, id, version)
);

create index unopened_row_rotation_id on unopened_row (rotation_id);

create table secret (
  id text primary key,
  -- The id of a vault, or of a deleted vault whose rows are not deleted yet.
  vault_id text not null,
  name text collate "C" not null,
  -- The newest version; 0 if the secret has none yet, only metadata.
  current_version bigint not null,
  -- Null means the limit of the vault.
  max_versions bigint,
  -- JSON object of strings.
  metadata text not null,
  -- The expiry of the secret as a whole. A version may expire sooner.
  expires_at bigint,
  -- The expiry of the version that is read by default: the sooner of its own and the secret's.
  due_at bigint,
  -- When that expiry must be announced next. Null after the last announcement.
  announce_at bigint,
  -- 1 if some version is not in the trash.
  live bigint not null check (live in (0, 1)),
  -- When the latest of its trashed versions was deleted. Null if no version is in the trash.
  trashed_at bigint,
  created_at bigint not null,
  created_by text not null,
  updated_at bigint not null,
  unique (vault_id, name),
  -- For the foreign key of its versions, which refer to both columns.
  unique (id, vault_id),
  constraint secret_without_version check (
    current_version > 0 or (live = 0 and trashed_at is null and due_at is null and announce_at is null)
  )
);

create index secret_live on secret (vault_id, name) where live = 1;

create index secret_trashed on secret (vault_id, name) where trashed_at is not null;

-- For the sweep only. With the same condition as the index above, PostgreSQL would use this one to list the trash of a
-- vault, and would have to sort.
create index secret_trashed_at on secret (trashed_at, id) where trashed_at > 0;

create index secret_expires_at on secret (expires_at, id) where expires_at is not null;

create index secret_due_at on secret (vault_id, due_at, name) where live = 1 and due_at is not null;

create index secret_announce_at on secret (announce_at, id) where announce_at is not null;

create table secret_version (
  secret_id text not null,
  -- The vault of the secret; a move changes both. A DEK is destroyed once the index below has no version that it
  -- sealed, so a version with the id of another vault would be lost.
  vault_id text not null,
  version bigint not null,
  -- Null unless the version is in the trash. These columns are before the ciphertext, because SQLite reads a row from
  -- its start.
  deleted_at bigint,
  deleted_by text,
  -- When it was restored while newer versions existed; null otherwise. A write that needs its place returns it to the
  -- trash.
  restored_at bigint,
  -- Null once the version is destroyed.
  ciphertext bytea,
  -- The version of the DEK that seals it, as at the start of the ciphertext. Null once the version is destroyed.
  dek_version bigint,
  encoding text not null check (encoding in ('utf8', 'base64')),
  content_type text,
  expires_at bigint,
  created_at bigint not null,
  -- user:<id> or application:<id>, as in grants.
  created_by text not null,
  destroyed_at bigint,
  destroyed_by text,
  -- Written from time to time only. The audit log has every read.
  last_read_at bigint,
  last_read_by text,
  primary key (secret_id, version),
  foreign key (secret_id, vault_id) references secret (id, vault_id) on update cascade,
  check ((ciphertext is null) = (dek_version is null))
);

-- A write finds the versions that are not in the trash, however many are.
create index secret_version_kept on secret_version (secret_id, version) where deleted_at is null;

create index secret_version_expires_at on secret_version (expires_at, secret_id, version)
  where expires_at is not null and ciphertext is not null;

-- Lists the versions sealed under old DEKs of a vault, page by page. Without it, a query would go through all secrets
-- of the vault to find the last few, or none.
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

-- The targets of versions that are references, by the names in the reference and the ids of what had the names when it
-- was written: null for a free name. A null version means the newest. The sealed value has the ids too.
create table secret_reference (
  secret_id text not null,
  version bigint not null,
  target_vault text collate "C" not null,
  target_name text collate "C" not null,
  target_version bigint,
  target_vault_id text,
  target_secret_id text,
  primary key (secret_id, version),
  foreign key (secret_id, version) references secret_version (secret_id, version) on delete cascade
);

create index secret_reference_target on secret_reference (target_vault_id, target_name);

-- Names of secrets that were moved away or purged, with the last version. A new secret of the same name continues from
-- that version, so that one entity tag never means two values.
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

-- Events that the owners of a vault should know. The payload is JSON, and never has a value of a secret.
create table event (
  id text primary key,
  -- The id of a vault. The id of the system stands for events that the admins should know.
  vault_id text not null,
  kind text not null,
  payload text not null,
  created_at bigint not null
);

create index event_vault_id on event (vault_id, id);

create index event_kind on event (vault_id, kind, id);

create index event_created_at on event (created_at);

-- One event for one receiver of webhooks. The id is also its webhook-id. The body is JSON with ids and names, and never
-- has a value of a secret.
create table webhook_delivery (
  id text primary key,
  endpoint text not null,
  kind text not null,
  body text not null,
  state text not null check (state in ('waiting', 'delivered', 'dead')),
  attempts bigint not null,
  -- Null unless it waits. An attempt first sets it to a minute later, so that no other process makes the same attempt,
  -- and so that the attempt is made again if the process is killed.
  next_attempt_at bigint,
  -- After this time, a failed attempt is the last.
  give_up_at bigint not null,
  last_failure text,
  created_at bigint not null,
  -- When it was delivered or given up. Null while it waits.
  ended_at bigint,
  check ((state = 'waiting') = (next_attempt_at is not null)),
  check ((state = 'waiting') = (ended_at is null))
);

create index webhook_delivery_due on webhook_delivery (endpoint, next_attempt_at, id) where next_attempt_at is not null;

create index webhook_delivery_state on webhook_delivery (state, id);

create index webhook_delivery_give_up_at on webhook_delivery (endpoint, give_up_at, id) where next_attempt_at is not null;

create index webhook_delivery_ended_at on webhook_delivery (state, ended_at) where ended_at is not null;

-- The secrets that sign the webhook for KEK rotations.
create table webhook_secret (
  id text primary key,
  ciphertext bytea not null,
  -- The version of the system's DEK that seals it. It has no index, because there are at most two secrets.
  dek_version bigint not null,
  created_at bigint not null,
  last_used_at bigint
);

-- The ids of the webhooks that were received, and the rotation that each was answered with. An id counts once.
create table webhook_message (
  id text primary key,
  rotation_id text not null,
  received_at bigint not null
);

create index webhook_message_received_at on webhook_message (received_at);

create table signing_key (
  id text primary key,
  purpose text not null check (purpose in ('access', 'refresh')),
  ciphertext bytea not null,
  -- The version of the system's DEK that seals it. It has no index, because there are only about three keys.
  dek_version bigint not null,
  created_at bigint not null
);

create table outbox (
  id text primary key,
  event text not null,
  created_at bigint not null
);

create index outbox_created_at on outbox (created_at, id);
