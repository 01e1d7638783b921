-- What the roles of profile full may do, on PostgreSQL. deploy/migrate.ts runs this after the migrations, in one transaction,
-- as the owner of the tables. It begins by taking everything away, so a right that is not here does not exist.
revoke all on all tables in schema public from public, cardea_api, cardea_worker;

grant select, insert, update, delete on all tables in schema public to cardea_api;

-- A worker runs jobs. It sees, changes and ends what exists. It makes no identity, no right and no value.
grant select on all tables in schema public to cardea_worker;

grant update on
  app_user, session, vault_grant, application, application_credential, vault, secret, secret_version, webhook_secret
  to cardea_worker;

grant delete on
  session, refresh_token, sign_in_failure, vault_grant, application_credential, secret, secret_version, secret_word,
  secret_label, secret_reference, given_up_name, deleted_vault, webhook_message
  to cardea_worker;

grant insert, update on given_up_name to cardea_worker;

grant insert, update, delete on
  dek, kek_destruction, rotation, rotation_vault, unopened_row, event, webhook_delivery, signing_key, outbox
  to cardea_worker;

-- Which migrations are applied is for the owner to say.
revoke insert, update, delete on schema_migration from cardea_api, cardea_worker;
