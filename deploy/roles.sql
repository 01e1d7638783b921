-- The roles and databases of profile full. A superuser runs this with psql, once and again after each change of a password:
--
--   psql -v ON_ERROR_STOP=1 -v migrate_password=… -v api_password=… -v worker_password=… -v audit_append_password=…
--        -v audit_read_password=… -f deploy/roles.sql <URL of the superuser>
--
-- A variable may come from a file: \set api_password `cat /run/secrets/api-password`. The databases are named cardea and
-- cardea_audit, or as -v database=… and -v audit_database=… say. deploy/migrate.ts then makes the tables and grants rights.
\set ON_ERROR_STOP on
\if :{?database} \else \set database cardea \endif
\if :{?audit_database} \else \set audit_database cardea_audit \endif

-- The server's log would hold the passwords.
set log_statement = 'none';
set log_min_duration_statement = -1;
set log_min_error_statement = 'panic';
set password_encryption = 'scram-sha-256';

select format('create role %I', name)
  from unnest(array['cardea_migrate', 'cardea_api', 'cardea_worker', 'cardea_audit_append', 'cardea_audit_read']) name
 where not exists (select from pg_roles where rolname = name)
\gexec

-- The owner of a database may make tables in it through the role pg_database_owner, which in PostgreSQL 15 needs `inherit`.
alter role cardea_migrate login nosuperuser nocreatedb nocreaterole noreplication nobypassrls inherit
  password :'migrate_password';
alter role cardea_api login nosuperuser nocreatedb nocreaterole noreplication nobypassrls noinherit
  password :'api_password';
alter role cardea_worker login nosuperuser nocreatedb nocreaterole noreplication nobypassrls noinherit
  password :'worker_password';
alter role cardea_audit_append login nosuperuser nocreatedb nocreaterole noreplication nobypassrls noinherit
  password :'audit_append_password';
alter role cardea_audit_read login nosuperuser nocreatedb nocreaterole noreplication nobypassrls noinherit
  password :'audit_read_password';

-- cardea_migrate makes the tables. The others get rights to the tables from deploy/migrate.ts.
select format('create database %I owner cardea_migrate', name)
  from unnest(array[:'database', :'audit_database']) name
 where not exists (select from pg_database where datname = name)
\gexec

-- By default everybody may connect to every database and make temporary tables in it.
revoke all on database :"database", :"audit_database" from public;
revoke all on database :"database" from cardea_audit_append, cardea_audit_read;
revoke all on database :"audit_database" from cardea_api, cardea_worker;
grant connect on database :"database" to cardea_api, cardea_worker;
grant connect on database :"audit_database" to cardea_audit_append, cardea_audit_read;
