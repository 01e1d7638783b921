import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { migrateAll } from '@cardea/deploy/migrate';
import { copyTemplates, makeRoles, makeTemplates, urlOf } from '@cardea/testkit/roles';
import type { DatabaseNames, RoleName } from '@cardea/testkit/roles';
import { runSql, startPostgres } from '@cardea/testkit/servers';
import type { PostgresServer } from '@cardea/testkit/servers';
import type { Db } from '@cardea/storage/db';
import { openDatabase } from '@cardea/storage/open';
import { openPostgres } from '@cardea/storage/postgres';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

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

describe('the role audit_append', () => {
  test.each([
    `update audit_entry set action = 'x.y'`,
    'delete from audit_entry',
    'update audit_tile set level = 2',
    'delete from audit_tile',
    'delete from audit_head',
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
    `update audit_entry set action = 'x.y'`,
    'delete from audit_tile',
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
    await runSql(
      urlOf(server.url, undefined, older.audit),
      `delete from schema_migration where name = '0002-append-only'`,
    );
    await expect(open('audit_append', older.audit, 'services/audit-service')).rejects.toMatchObject({
      name: 'SchemaRefused',
      message: expect.stringMatching(/is older .* lacks migration 0002-append-only, .* Run deploy\/migrate\.ts/),
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

/** Runs the migration as an operator does. */
async function runMigrate(env: NodeJS.ProcessEnv): Promise<{ code: number; output: string }> {
  const script = fileURLToPath(import.meta.resolve('@cardea/deploy/migrate'));
  const program = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script], {
    env: { PATH: process.env['PATH'], ...env },
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
