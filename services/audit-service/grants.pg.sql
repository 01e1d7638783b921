-- What the roles of profile full may do, on PostgreSQL. deploy/migrate.ts runs this after the migrations, in one transaction,
-- as the owner of the tables. It begins by taking everything away, so a right that is not here does not exist.
revoke all on all tables in schema public from public, cardea_audit_append, cardea_audit_read;

-- The chain and the checkpoints are continued from what is stored.
grant select on all tables in schema public to cardea_audit_append;

grant insert on audit_entry, audit_tile, audit_term to cardea_audit_append;

-- Where the log ends.
grant update (size, chain) on audit_head to cardea_audit_append;

-- The sinks, and how far each is.
grant insert, delete, update (settings, next_seq) on audit_sink to cardea_audit_append;

-- How far the index of the entries is.
grant update (size) on audit_indexed to cardea_audit_append;

grant select on audit_entry, audit_tile, audit_head, audit_term, audit_indexed, audit_sink to cardea_audit_read;
