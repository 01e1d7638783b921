-- The roles and databases of profile full. A superuser runs this with psql, once and again after each change of a password:
--
--   psql -v ON_ERROR_STOP=1 -v migrate_password=… -v api_password=… -v worker_password=… -v audit_append_password=…
--        -v audit_read_password=… -f deploy/roles.sql <URL of the superuser>
--
-- A variable may come from a file: \set api_password `cat /run/secrets/api-password`. The databases are named cardea and
-- cardea_audit, or as -v database=… and -v audit_database=… say. deploy/migrate.ts then makes the tables and grants rights.
-- With -v exporter_password=… it makes a role for monitoring too, which sees statistics and no row of any table.
\set ON_ERROR_STOP on
\if :{?database} \else \set database cardea \endif
\if :{?audit_database} \else \set audit_database cardea_audit \endif

-- The server's log would hold the passwords, and pg_stat_activity would show them to a role for monitoring (pg_monitor).
set track_activities = off;
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

\if :{?exporter_password}
select 'create role cardea_exporter'
 where not exists (select from pg_roles where rolname = 'cardea_exporter')
\gexec
-- It needs one connection.
alter role cardea_exporter login nosuperuser nocreatedb nocreaterole noreplication nobypassrls inherit
  connection limit 5 password :'exporter_password';
grant pg_monitor to cardea_exporter;
\endif

-- A role may change its own settings, and a stolen one may have done so.
select format('alter role %I %s reset all', rolname, 'in database ' || quote_ident(datname))
  from pg_db_role_setting join pg_roles on pg_roles.oid = setrole left join pg_database on pg_database.oid = setdatabase
 where rolname in ('cardea_migrate', 'cardea_api', 'cardea_worker', 'cardea_audit_append', 'cardea_audit_read',
                   'cardea_exporter')
\gexec

-- cardea_migrate makes the tables. The others get rights to the tables from deploy/migrate.ts.
select format('create database %I owner cardea_migrate', name)
  from unnest(array[:'database', :'audit_database']) name
 where not exists (select from pg_database where datname = name)
\gexec

-- By default everybody may connect to every database and make temporary tables in it.
revoke all on database :"database", :"audit_database" from public;
revoke temporary on database :"DBNAME" from public;
revoke all on database :"database" from cardea_audit_append, cardea_audit_read;
revoke all on database :"audit_database" from cardea_api, cardea_worker;
grant connect on database :"database" to cardea_api, cardea_worker;
grant connect on database :"audit_database" to cardea_audit_append, cardea_audit_read;
select format('revoke all on database %I from cardea_exporter', name)
  from unnest(array[:'database', :'audit_database']) name
 where exists (select from pg_roles where rolname = 'cardea_exporter')
\gexec

-- By default everybody may take advisory locks, which fill the memory that all locks share, and store large objects. The
-- rights to functions belong to one database. So this comes last: a new connection does not have the settings above.
\set close 'select format(''revoke execute on function %s from public'', oid::regprocedure) from pg_proc where pronamespace = ''pg_catalog''::regnamespace and proname ~ ''^lo_|^loread$|^lowrite$|_advisory_'''
\set allow_locks 'select format(''grant execute on function %s to %s'', oid::regprocedure, :''lockers'') from pg_proc where pronamespace = ''pg_catalog''::regnamespace and proname ~ ''_advisory_'''
:close \gexec
\connect :"database"
\set lockers 'cardea_migrate, cardea_api, cardea_worker'
:close \gexec
:allow_locks \gexec
\connect :"audit_database"
\set lockers cardea_migrate
:close \gexec
:allow_locks \gexec
