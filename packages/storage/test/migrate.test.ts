import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { UniqueViolation } from '../src/db.ts';
import type { Db } from '../src/db.ts';
import { migrate, readMigrations } from '../src/migrate.ts';
import { dumpSchema } from '../src/schema-snapshot.ts';
import { splitStatements } from '../src/statements.ts';
import { postgresDatabase, sqliteFile } from './databases.ts';
import type { TestDatabase } from './db-conformance.ts';

const first = {
  name: '0001-init',
  sql: `
    -- A comment; with a semicolon.
    create table thing (
      id text not null primary key,
      body bytea not null,
      size bigint not null default 0,
      check (size >= 0)
    );
    create index thing_size on thing (size, id);
    insert into thing (id, body) values ('a;b bytea', '');
  `.replace("''", "cast('' as bytea)"),
};
const second = { name: '0002-more', sql: 'create table other (id text not null references thing (id));' };
const third = { name: '0003-last', sql: 'create table last (id text not null);' };

describe.each([
  ['SQLite', sqliteFile],
  ['PostgreSQL', postgresDatabase],
])('migrations on %s', (_, create: () => Promise<TestDatabase>) => {
  let database: TestDatabase;
  let db: Db;

  beforeEach(async () => {
    database = await create();
    db = database.open();
  });

  afterEach(async () => {
    await db.close();
    await database.remove();
  });

  test('are applied in order, once', async () => {
    expect(await migrate(db, [first])).toEqual({ applied: ['0001-init'] });
    expect(await migrate(db, [first, second])).toEqual({ applied: ['0002-more'] });
    expect(await migrate(db, [first, second])).toEqual({ applied: [] });
    expect(await db.query('select id, size from thing')).toEqual([{ id: 'a;b bytea', size: 0 }]);
  });

  test('are applied once by two migrators at the same time', async () => {
    const other = database.open();
    const results = await Promise.all([migrate(db, [first, second, third]), migrate(other, [first, second, third])]);
    await other.close();
    expect(results.flatMap(({ applied }) => applied).sort()).toEqual(['0001-init', '0002-more', '0003-last']);
  });

  test('that fail leave nothing behind and can be corrected', async () => {
    const broken = { name: '0002-more', sql: `${second.sql} insert into other (id) values ('nothing');` };
    await expect(migrate(db, [first, broken])).rejects.toThrow('migration 0002-more failed');
    expect(await migrate(db, [first, second])).toEqual({ applied: ['0002-more'] });
  });

  test('that insert a duplicate row fail, and do not pass for applied by another migrator', async () => {
    const duplicate = {
      name: '0002-x',
      sql: "insert into thing (id, body) select id, body from thing where id = 'a;b bytea';",
    };
    await expect(migrate(db, [first, duplicate])).rejects.toHaveProperty('cause.constructor', UniqueViolation);
  });

  test('are refused if one has changed since it was applied', async () => {
    await migrate(db, [first]);
    const changed = { ...first, sql: `${first.sql} ` };
    await expect(migrate(db, [changed, second])).rejects.toThrow('Migration 0001-init has changed');
  });

  test('may differ in their line endings', async () => {
    await migrate(db, [first]);
    expect(await migrate(db, [{ ...first, sql: first.sql.replaceAll('\n', '\r\n') }])).toEqual({ applied: [] });
  });

  test('are refused if newer code has migrated the database', async () => {
    await migrate(db, [first, second]);
    await expect(migrate(db, [first])).rejects.toThrow('migration 0002-more, which this version does not know');
  });

  test('are refused if one is inserted before an applied one', async () => {
    await migrate(db, [first, third]);
    await expect(migrate(db, [first, second, third])).rejects.toThrow('0002-more comes before 0003-last');
  });

  test('lead to the same schema description in one step or in two, and change it', async () => {
    await migrate(db, [first, second]);
    const dump = await dumpSchema(db);
    const again = await create();
    const other = again.open();
    await migrate(other, [first]);
    expect(await dumpSchema(other)).not.toBe(dump);
    await migrate(other, [first, second]);
    expect(await dumpSchema(other)).toBe(dump);
    await other.close();
    await again.remove();
    expect(dump).toMatch(/^table other\n[^]*^table schema_migration\n[^]*^table thing\n/m);
    for (const part of ['thing_size', 'size >= 0', 'not null', 'default 0', 'primary key', 'references thing']) {
      expect(dump.toLowerCase()).toContain(part);
    }
  });
});

describe('the statements of a migration', () => {
  const table = 'create table t (a bytea, b bigint, "bytea" text default \'bigint; $1\')';

  test('are PostgreSQL text, translated for SQLite to its own types and strict tables', () => {
    expect(splitStatements(`${table};\ncreate index i on t (b);`, 'postgres')).toEqual([
      table,
      'create index i on t (b)',
    ]);
    expect(splitStatements(`${table};\ncreate index i on t (b);`, 'sqlite')).toEqual([
      'create table t (a blob, b integer, "bytea" text default \'bigint; $1\') strict',
      'create index i on t (b)',
    ]);
    expect(splitStatements('create table t (a text primary key) without rowid;', 'sqlite')).toEqual([
      'create table t (a text primary key) without rowid, strict',
    ]);
  });

  test('are not split inside comments, literals, function bodies and triggers', () => {
    const body = 'create function f() returns trigger as $f$ begin raise; end; $f$ language plpgsql';
    expect(splitStatements(`/* a; b */ ${body}; -- c; d\nselect 1`, 'postgres')).toEqual([body, 'select 1']);
    const trigger =
      "create trigger no before update on t begin select case when 1 then raise(abort, 'no; never') end; select 2; end";
    expect(splitStatements(`${trigger};\nselect 1;`, 'sqlite')).toEqual([trigger, 'select 1']);
  });
});

describe('a folder of migrations', () => {
  let folder: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'cardea-migrations-'));
    const files = [
      '0010-z.sql',
      '0001-init.sql',
      '0002-rules.pg.sql',
      '0002-rules.sqlite.sql',
      '0003-only.pg.sql',
      'README.md',
    ];
    await Promise.all(files.map((file) => writeFile(join(folder, file), `-- ${file}`)));
  });

  afterEach(() => rm(folder, { recursive: true }));

  test('is read in order, for one engine', async () => {
    expect(await readMigrations(folder, 'sqlite')).toEqual([
      { name: '0001-init', sql: '-- 0001-init.sql' },
      { name: '0002-rules', sql: '-- 0002-rules.sqlite.sql' },
      { name: '0010-z', sql: '-- 0010-z.sql' },
    ]);
    const names = (await readMigrations(pathToFileURL(folder), 'postgres')).map(({ name }) => name);
    expect(names).toEqual(['0001-init', '0002-rules', '0003-only', '0010-z']);
  });

  test('with the same number twice is refused', async () => {
    await writeFile(join(folder, '0010-again.sql'), '');
    await expect(readMigrations(folder, 'postgres')).rejects.toThrow('two migrations have the number');
  });
});
