import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { migrateAll } from '@cardea/deploy/migrate';
import { copyTemplates, makeRoles, makeTemplates, passwordOf, urlOf } from '@cardea/testkit/roles';
import type { DatabaseNames, RoleName } from '@cardea/testkit/roles';
import { runSql } from '@cardea/storage/test/run-sql';
import { findServer, startPostgres } from '@cardea/testkit/servers';
import type { PostgresServer } from '@cardea/testkit/servers';
import type { Db } from '@cardea/storage/db';
import { openDatabase } from '@cardea/storage/open';
import { openPostgres } from '@cardea/storage/postgres';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Client } from 'pg';

// Roles belong to a server and not to a database, so this file has a server of its own.
let server: PostgresServer;
let names: DatabaseNames;

beforeAll(async () => {
  server = await startPostgres();
  names = await makeTemplates(server.url);
});
afterAll(() => server.stop());

/** Runs a statement as a role. */
async function as(role: RoleName, database: keyof DatabaseNames, sql: string): Promise<unknown[]> {
  const db = openPostgres(urlOf(server.url, role, names[database]), { max: 1 });
  try {
    return await db.query(sql);
  } finally {
    await db.close();
  }
}

const DDL = [
  'create table extra (id bigint)',
  'create temporary table extra (id bigint)',
  'create schema extra',
  `create function extra() returns bigint language sql as 'select 1::bigint'`,
  'create role extra',
  'create database extra',
  'alter role current_user superuser',
  `copy schema_migration to program 'cat'`,
  `select pg_read_file('/etc/passwd')`,
  `insert into schema_migration (name, applied_at, checksum) values ('9999-none', 0, '')`,
  'delete from schema_migration',
  'set role cardea_migrate',
  'select lo_create(0)',
  `select lo_from_bytea(0, '')`,
];

const DENIED = /permission denied|must be (owner|superuser)/;

describe.each<[RoleName, keyof DatabaseNames]>([
  ['api', 'api'],
  ['worker', 'api'],
  ['audit_append', 'audit'],
  ['audit_read', 'audit'],
])('the role %s', (role, database) => {
  test.each(DDL)('may not: %s', async (sql) => {
    await expect(as(role, database, sql)).rejects.toThrow(DENIED);
  });

  test('may not enter the other database', async () => {
    const other = database === 'api' ? 'audit' : 'api';
    await expect(as(role, other, 'select 1')).rejects.toMatchObject({
      cause: { message: expect.stringMatching(/permission denied for database/) },
    });
  });
});

describe.each<RoleName>(['api', 'worker'])('the role %s', (role) => {
  test.each([
    'drop table secret',
    'alter table secret add column extra bigint',
    'create index extra on secret (name)',
    'truncate outbox',
    'alter table outbox owner to current_user',
  ])('may not: %s', async (sql) => {
    await expect(as(role, 'api', sql)).rejects.toThrow(DENIED);
  });
});

describe('the role worker', () => {
  test.each([
    ['app_user', ['insert', 'delete']],
    ['recovery_code', ['insert', 'update', 'delete']],
    ['session', ['insert']],
    ['refresh_token', ['insert', 'update']],
    ['application', ['insert', 'delete']],
    ['application_credential', ['insert']],
    ['vault', ['insert', 'delete']],
    ['vault_grant', ['insert']],
    ['secret', ['insert']],
    ['secret_version', ['insert']],
    ['break_glass', ['insert', 'update', 'delete']],
    ['webhook_secret', ['insert', 'delete']],
    ['vault_key', ['insert']],
  ])('makes no identity, no right and no value: on %s no %j', async (table, privileges) => {
    for (const privilege of privileges) {
      const [row] = await as('worker', 'api', `select has_table_privilege('${table}', '${privilege}') as may`);
      expect([privilege, row]).toEqual([privilege, { may: 0 }]);
    }
  });

  test('is refused a right and a value, not only on paper', async () => {
    await expect(as('worker', 'api', 'insert into vault_grant default values')).rejects.toThrow(DENIED);
    await expect(as('worker', 'api', 'insert into secret_version default values')).rejects.toThrow(DENIED);
  });
});

describe('the role worker', () => {
  test.each([
    `update app_user set role = 'admin'`,
    `update app_user set password_hash = ''`,
    'update app_user set totp_enabled = 0',
    'update app_user set expires_at = null',
    'update session set user_id = id',
    'update session set expires_at = 0',
    'update vault_grant set owner = 1',
    `update vault_grant set secrets = '["read"]'`,
    'update vault_grant set principal = vault_id',
    `update application set allowed_cidrs = '[]'`,
    `update application_credential set secret_hash = ''`,
    'update application_credential set expires_at = null',
    `update vault set name = ''`,
    'update secret set vault_id = id',
    'update secret_version set vault_id = secret_id',
    'update vault_key set vault_id = id',
    `update vault_key set algorithm = 'aes-128-gcm'`,
    'update vault_key set delete_at = null',
    'update vault_key set deletion_protection = 0',
    'update vault_key set min_decrypt_version = 1',
    `update key_version set state = 'enabled'`,
    'update key_version set encryptions = 0',
    'update key_version set key_id = vault_id',
  ])('takes no account, right or value over: %s', async (sql) => {
    await expect(as('worker', 'api', sql)).rejects.toThrow(DENIED);
  });
});

test('the role worker may change a whole row of nothing that callers rely on', async () => {
  const whole = await as(
    'worker',
    'api',
    `select relname as name
       from pg_class
      where relkind = 'r'
        and relnamespace = 'public'::regnamespace
        and has_table_privilege(oid, 'update')
      order by relname`,
  );
  expect(whole.map((row) => (row as { name: string }).name)).toEqual(
    'dek event given_up_name kek_destruction outbox rotation rotation_vault signing_key unopened_row webhook_delivery'.split(
      ' ',
    ),
  );
});

describe.each<[RoleName, string]>([
  ['audit_append', 'audit'],
  ['audit_read', 'audit'],
  ['exporter', 'postgres'],
])('the role %s', (role, database) => {
  test.each([
    'select pg_advisory_lock(1)',
    'select pg_try_advisory_xact_lock_shared(1)',
    'select lo_create(0)',
    'create temporary table extra (id bigint)',
  ])('fills no memory or disk that others need: %s', async (sql) => {
    const name = database === 'audit' ? names.audit : database;
    const db = openPostgres(urlOf(server.url, role, name), { max: 1 });
    await expect(db.query(sql)).rejects.toThrow(DENIED);
    await db.close();
  });
});

describe('the role exporter', () => {
  test.each<keyof DatabaseNames>(['api', 'audit'])('may not enter the database %s', async (database) => {
    await expect(as('exporter', database, 'select 1')).rejects.toMatchObject({
      cause: { message: expect.stringMatching(/permission denied for database/) },
    });
  });

  test('sees no password while roles.sql runs', async () => {
    const monitor = openPostgres(urlOf(server.url, 'exporter', 'postgres'), { max: 1 });
    const holder = new Client({ connectionString: server.url });
    await holder.connect();
    // roles.sql waits for this row in the statement with the role's password.
    await holder.query('begin; alter role cardea_audit_read connection limit -1');
    const running = makeRoles(server.url, names);
    const waiting = `select query, state from pg_stat_activity
                      where pid in (select pid from pg_locks where not granted)`;
    let seen: unknown[] = [];
    for (const until = Date.now() + 60_000; seen.length === 0 && Date.now() < until;) {
      seen = await monitor.query(waiting);
    }
    await holder.query('rollback');
    await holder.end();
    await running;
    await monitor.close();
    expect(seen).toEqual([{ query: expect.not.stringContaining('password'), state: 'disabled' }]);
  });
});

test('what a role sets for itself ends no durability, and goes when roles.sql runs again', async () => {
  await as('audit_append', 'audit', 'alter role cardea_audit_append set synchronous_commit = off');
  await as(
    'audit_append',
    'audit',
    `alter role cardea_audit_append in database ${names.audit} set synchronous_commit = off`,
  );
  expect(await as('audit_append', 'audit', 'show synchronous_commit')).toEqual([{ synchronous_commit: 'on' }]);
  await makeRoles(server.url, names);
  const superuser = openPostgres(server.url, { max: 1 });
  expect(await superuser.query('select setconfig from pg_db_role_setting where setrole <> 0')).toEqual([]);
  await superuser.close();
});

test('in the stack no role takes the connections of the others', async () => {
  await runStackRoles();
  const superuser = openPostgres(server.url, { max: 1 });
  const roles = await superuser.query<{ name: string; most: number }>(
    `select rolname as name, rolconnlimit as most from pg_roles where rolname like 'cardea%'`,
  );
  await superuser.close();
  expect(roles).toHaveLength(6);
  for (const { name, most } of roles) expect([name, most]).toEqual([name, Math.max(1, most)]);
  const compose = await readFile(new URL('../../docker-compose.full.yml', import.meta.url), 'utf8');
  const all = Number(/-cmax_connections=\$\{CARDEA_POSTGRES_CONNECTIONS:-(\d+)\}/.exec(compose)?.[1]);
  // PostgreSQL keeps three for a superuser.
  expect(roles.reduce((sum, { most }) => sum + most, 0)).toBeLessThanOrEqual(all - 3);

  const greedy = openPostgres(urlOf(server.url, 'exporter', 'postgres'), { max: 6 });
  const held = Array.from({ length: 6 }, (_, i) => greedy.query(`select pg_sleep(60), ${i} as n`));
  const ended = Promise.allSettled(held);
  // Five go on until they are cancelled, so the sixth finds no place.
  await expect(Promise.race(held)).rejects.toMatchObject({ cause: { code: '53300' } });
  const holder = new Client({ connectionString: server.url });
  await holder.connect();
  await holder.query(`select pg_cancel_backend(pid) from pg_stat_activity where usename = 'cardea_exporter'`);
  await holder.end();
  const refused = (await ended).filter((one) => one.status === 'rejected' && !/57014/.test(String(one.reason)));
  await greedy.close();
  expect(refused).toEqual([
    { status: 'rejected', reason: expect.objectContaining({ cause: expect.objectContaining({ code: '53300' }) }) },
  ]);
});

describe('the role audit_append', () => {
  test('does not move the end of the log back', async () => {
    const own = await copyTemplates(server.url, names);
    const db = openPostgres(urlOf(server.url, 'audit_append', own.audit), { max: 1 });
    await db.query('update audit_head set size = 5');
    await expect(db.query('update audit_head set size = 4')).rejects.toThrow('append-only');
    await expect(db.query(`update audit_head set chain = ''`)).rejects.toThrow('append-only');
    await db.query('update audit_head set size = 6');
    await db.close();
  });

  test.each([
    `update audit_entry set written_at = ''`,
    'delete from audit_entry',
    'update audit_tile set level = 2',
    'delete from audit_tile',
    'delete from audit_head',
    'delete from audit_term',
    'update audit_term set seq = 1',
    'update audit_indexed set id = 1',
    `update audit_sink set name = ''`,
    'update audit_head set id = 1',
    `insert into audit_head (id, size, chain) values (2, 0, '')`,
    'truncate audit_entry',
    'drop trigger audit_entry_append_only on audit_entry',
    'alter table audit_entry disable trigger all',
    'drop function refuse_change()',
    'select * from audit_entry for update',
  ])('may not: %s', async (sql) => {
    await expect(as('audit_append', 'audit', sql)).rejects.toThrow(DENIED);
  });
});

describe('the role audit_read', () => {
  test.each([
    'insert into audit_entry default values',
    'update audit_head set size = size',
    `update audit_entry set written_at = ''`,
    'delete from audit_tile',
    'insert into audit_term (term, seq) values (1, 1)',
    'update audit_indexed set size = 0',
    'update audit_sink set next_seq = 0',
    'truncate audit_entry',
    'select * from audit_head for update',
  ])('may not: %s', async (sql) => {
    await expect(as('audit_read', 'audit', sql)).rejects.toThrow(DENIED);
  });

  test('reads', async () => {
    expect(await as('audit_read', 'audit', 'select size from audit_head')).toEqual([{ size: 0 }]);
  });
});

describe('the owner of the tables', () => {
  test('is no superuser, and the log refuses its changes too', async () => {
    await expect(as('migrate', 'audit', 'truncate audit_entry')).rejects.toThrow('append-only');
    await expect(as('migrate', 'audit', 'create role extra')).rejects.toThrow(DENIED);
  });
});

test('both scripts may run again, and take back rights that somebody added', async () => {
  const superuser = urlOf(server.url, undefined, names.audit);
  await runSql(superuser, 'grant delete on audit_entry to cardea_audit_append');
  await makeRoles(server.url, names);
  await migrateAll({
    database: { url: urlOf(server.url, 'migrate', names.api) },
    auditDatabase: { url: urlOf(server.url, 'migrate', names.audit) },
    allowFsyncOff: true,
  });
  await expect(as('audit_append', 'audit', 'delete from audit_entry')).rejects.toThrow(DENIED);
});

describe('node deploy/migrate.ts', () => {
  test('makes the tables of both databases and grants the rights', async () => {
    const fresh = { api: 'fresh_api', audit: 'fresh_audit' };
    await makeRoles(server.url, fresh);
    expect(await runMigrate(urlsOf(fresh))).toEqual({ code: 0, output: '' });
    for (const [role, database, table] of [
      ['worker', fresh.api, 'secret'],
      ['audit_read', fresh.audit, 'audit_entry'],
    ] as const) {
      const db = openPostgres(urlOf(server.url, role, database), { max: 1 });
      expect(await db.query(`select count(*) as n from ${table}`)).toEqual([{ n: 0 }]);
      await db.close();
    }
  });

  test('names every wrong setting, and ends with 78', async () => {
    const { code, output } = await runMigrate({
      ...urlsOf(names),
      CARDEA_DATABASE_URL: '',
      CARDEA_DATABASE_PASSWORD: 'x',
    });
    expect([code, output]).toEqual([
      78,
      'The settings are wrong: CARDEA_DATABASE_URL is not set, and this service needs it; ' +
        'CARDEA_DATABASE_PASSWORD is no setting, CARDEA_DATABASE_PASSWORD_FILE is the nearest one.\n',
    ]);
  });

  test('says what to run if the roles are not there', async () => {
    const bare = await startPostgres();
    const databases = { api: 'bare_api', audit: 'bare_audit' };
    for (const name of Object.values(databases)) await runSql(bare.url, `create database ${name}`);
    const { code, output } = await runMigrate({
      ...urlsOf(databases),
      CARDEA_DATABASE_URL: urlOf(bare.url, undefined, databases.api),
      CARDEA_AUDIT_DATABASE_URL: urlOf(bare.url, undefined, databases.audit),
    });
    await bare.stop();
    expect([code, output]).toEqual([78, 'The role cardea_api does not exist: run deploy/roles.sql first.\n']);
  });
});

describe('a service whose role may make no tables', () => {
  let older: DatabaseNames;
  beforeAll(async () => {
    older = await copyTemplates(server.url, names);
  });

  test('starts on a complete database', async () => {
    const db = await open('audit_append', older.audit, 'services/audit-service');
    await db.close();
  });

  test('refuses an older database, names the migration and says what to run', async () => {
    await runSql(urlOf(server.url, undefined, older.audit), `delete from schema_migration where name = '0005-sinks'`);
    await expect(open('audit_append', older.audit, 'services/audit-service')).rejects.toMatchObject({
      name: 'SchemaRefused',
      message: expect.stringMatching(/is older .* lacks migration 0005-sinks, .* Run deploy\/migrate\.ts/),
    });
  });

  test('refuses a database whose tables it may not read', async () => {
    const superuser = urlOf(server.url, undefined, older.api);
    await runSql(superuser, 'revoke all on schema_migration from cardea_api');
    await expect(open('api', older.api, 'packages/vault')).rejects.toMatchObject({
      name: 'SchemaRefused',
      message: expect.stringMatching(/has no rights to the tables of its database: run deploy\/migrate\.ts/),
    });
  });

  test('refuses a database without tables', async () => {
    const empty = { api: 'empty_api', audit: 'empty_audit' };
    await makeRoles(server.url, empty);
    await expect(open('api', empty.api, 'packages/vault')).rejects.toThrow(/lacks migration 0001-init/);
  });
});

/** Opens a database as a service with this role does. */
function open(role: RoleName, database: string, migrations: string): Promise<Db> {
  return openDatabase({
    target: { url: urlOf(server.url, role, database) },
    migrations: new URL(`../../${migrations}/migrations/`, import.meta.url),
    onCommitError: (error) => {
      throw error;
    },
    allowFsyncOff: true,
  });
}

/** Runs what the container `roles` runs, with files in another folder. */
async function runStackRoles(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'cardea-roles-'));
  for (const role of ['migrate', 'api', 'worker', 'audit_append', 'audit_read', 'exporter'] as const) {
    await writeFile(join(folder, role.replace('_', '-')), passwordOf(role));
  }
  const deploy = new URL('../../deploy/', import.meta.url);
  await copyFile(new URL('roles.sql', deploy), join(folder, 'roles.sql'));
  const script = await readFile(new URL('stack/roles.psql', deploy), 'utf8');
  await writeFile(join(folder, 'roles.psql'), script.replaceAll('/run/cardea/', `${folder}/`));
  const psql = findServer('psql', 'postgresql-client');
  await promisify(execFile)(psql, ['-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', join(folder, 'roles.psql'), server.url]);
  await rm(folder, { recursive: true });
}

/** Runs the migration as an operator does. */
async function runMigrate(env: NodeJS.ProcessEnv): Promise<{ code: number; output: string }> {
  const script = fileURLToPath(import.meta.resolve('@cardea/deploy/migrate'));
  const { PATH, NODE_COMPILE_CACHE } = process.env;
  const program = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script], {
    env: { PATH, NODE_COMPILE_CACHE, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const [output, [code]] = await Promise.all([text(program.stderr), once(program, 'exit')]);
  return { code: code as number, output };
}

function urlsOf(of: DatabaseNames): NodeJS.ProcessEnv {
  return {
    CARDEA_DATABASE_URL: urlOf(server.url, 'migrate', of.api),
    CARDEA_AUDIT_DATABASE_URL: urlOf(server.url, 'migrate', of.audit),
    CARDEA_TEST_ALLOW_FSYNC_OFF: 'true',
  };
}
