-- Whether the key was made exportable. A change of it opens no version: the material is bound to it.
alter table vault_key add column exportable bigint not null default 0;

-- Whether the versions of the key are public keys that were imported.
alter table vault_key add column public_only bigint not null default 0;

-- Wrapping keys: the public half of each wraps one key, that is then imported.
create table key_import (
  -- <vault id>/<principal>/<SHA-256 of the token>. The private key is bound to it.
  id text primary key,
  -- The id of a vault, or of a deleted vault whose rows are not deleted yet.
  vault_id text not null,
  -- user:<id> or application:<id>.
  created_by text not null,
  -- The sealed private key. Null once it was used.
  ciphertext bytea,
  -- The version of the system's DEK that seals it, as at the start of the ciphertext. Null once it was used.
  dek_version bigint,
  created_at bigint not null,
  expires_at bigint not null,
  check ((ciphertext is null) = (dek_version is null))
);

create index key_import_vault_id on key_import (vault_id, id);

create index key_import_created_by on key_import (created_by);

create index key_import_expires_at on key_import (expires_at);

create index key_import_dek_version on key_import (dek_version, id) where dek_version is not null;
