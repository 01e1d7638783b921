-- What the roles of profile full may do, on PostgreSQL. deploy/migrate.ts runs this after the migrations, in one transaction,
-- as the owner of the tables. It begins by taking everything away, so a right that is not here does not exist.
revoke all on all tables in schema public from public, cardea_api, cardea_worker;

grant select, insert, update, delete on all tables in schema public to cardea_api;

-- A worker runs jobs. It sees, changes and ends what exists. It makes no identity, no right and no value, except the
-- versions of keys that are due.
grant select on all tables in schema public to cardea_worker;

-- By column: a right to a whole row would let it make an admin, take a session over, or widen a grant. Only what jobs write.
grant update (disabled, announce_at, updated_at, totp_ciphertext, totp_dek_version) on app_user to cardea_worker;

grant update (ended_at) on session to cardea_worker;

grant update (announce_at) on vault_grant to cardea_worker;

grant update (disabled, announce_at) on application to cardea_worker;

grant update (expired_at, announce_at) on application_credential to cardea_worker;

grant update (expires_at, announce_at, trashed_at) on secret to cardea_worker;

grant update (ciphertext, dek_version, expires_at, destroyed_at, destroyed_by) on secret_version to cardea_worker;

grant update (ciphertext, dek_version) on webhook_secret to cardea_worker;

-- The schedule makes another version the newest one.
grant update (current_version, rotate_at, updated_at) on vault_key to cardea_worker;

grant update (ciphertext, dek_version) on key_version to cardea_worker;

grant update (ciphertext, dek_version) on key_import to cardea_worker;

grant delete on
  session, refresh_token, sign_in_failure, vault_grant, application_credential, secret, secret_version, secret_word,
  secret_label, secret_reference, given_up_name, vault_key, key_version, key_use, key_import, deleted_vault, webhook_message
  to cardea_worker;

grant insert, update on given_up_name to cardea_worker;

-- The schedule makes the next version of a key that exists.
grant insert on key_version to cardea_worker;

grant insert, update, delete on
  dek, kek_destruction, rotation, rotation_vault, unopened_row, event, webhook_delivery, signing_key, outbox
  to cardea_worker;

-- Which migrations are applied is for the owner to say.
revoke insert, update, delete on schema_migration from cardea_api, cardea_worker;
