-- Limits the rights on keys, as path_prefix limits those on secrets.
alter table vault_grant add column key_prefix text;

create table vault_key (
  id text primary key,
  -- The id of a vault, or of a deleted vault whose rows are not deleted yet.
  vault_id text not null,
  name text collate "C" not null,
  -- A change of it opens no version: the material is bound to it.
  algorithm text not null,
  -- How it derives a key for each context. Null if it is used itself. A change of it opens no version either.
  derivation text check (derivation in ('hkdf-sha256')),
  -- The newest version. It encrypts and signs unless a caller names another.
  current_version bigint not null,
  -- The oldest versions that still encrypt and sign, and that still decrypt and verify.
  min_encrypt_version bigint not null,
  min_decrypt_version bigint not null,
  -- While it is 1, the key cannot be deleted, and neither can its vault.
  deletion_protection bigint not null check (deletion_protection in (0, 1)),
  -- When the key is destroyed. Null unless it was deleted; until then it can be restored, and does nothing.
  delete_at bigint,
  -- How often the schedule makes a new version. Null for never.
  rotation_period_ms bigint,
  -- When the next version is due: after the period, or because the newest has encrypted very many messages.
  rotate_at bigint,
  created_at bigint not null,
  created_by text not null,
  updated_at bigint not null,
  unique (vault_id, name),
  -- For the foreign key of its versions, which refer to both columns.
  unique (id, vault_id),
  check (min_decrypt_version <= min_encrypt_version and min_encrypt_version <= current_version)
);

create index vault_key_delete_at on vault_key (delete_at, id) where delete_at is not null;

create index vault_key_rotate_at on vault_key (rotate_at, id) where rotate_at is not null;

create table key_version (
  key_id text not null,
  -- The vault of the key. A rotation looks here for what the DEKs of the vault seal.
  vault_id text not null,
  version bigint not null,
  state text not null check (state in ('enabled', 'disabled', 'destroyed')),
  -- The sealed material. Null once the version is destroyed.
  ciphertext bytea,
  -- The version of the DEK that seals it, as at the start of the ciphertext. Null once the version is destroyed.
  dek_version bigint,
  -- How many messages it has encrypted. Written from time to time only; a random nonce bounds their number.
  encryptions bigint not null default 0,
  created_at bigint not null,
  -- user:<id>, application:<id> or service:cardea.
  created_by text not null,
  destroyed_at bigint,
  destroyed_by text,
  primary key (key_id, version),
  foreign key (key_id, vault_id) references vault_key (id, vault_id),
  check ((ciphertext is null) = (dek_version is null)),
  check ((ciphertext is null) = (state = 'destroyed'))
);

create index key_version_dek_version on key_version (vault_id, dek_version, key_id, version)
  where dek_version is not null;

-- How often each version was used, by operation and day. Written from time to time only. The audit log has every use.
create table key_use (
  key_id text not null,
  version bigint not null,
  operation text not null,
  -- Days since 1970, in UTC.
  day bigint not null,
  uses bigint not null,
  last_used_at bigint not null,
  -- user:<id> or application:<id>.
  last_used_by text not null,
  primary key (key_id, version, operation, day)
);

create index key_use_day on key_use (day);
