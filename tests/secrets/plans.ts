import type { Db, Queryable, SqlValue, Transaction } from '@cardea/storage/db';
import { migrate, readMigrations } from '@cardea/storage/migrate';
import { openPostgres } from '@cardea/storage/postgres';
import { openSqlite } from '@cardea/storage/sqlite';
import { testDatabase } from '@cardea/testkit/servers';
import { migrationsFolder } from '@cardea/vault/migrations';
import { afterAll, beforeAll, expect } from '@jest/globals';
import { Client } from 'pg';

/** A statement and the plan of the engine for it. */
export interface Plan {
  sql: string;
  lines: string[];
  /** The number of rows read. Only PostgreSQL says it. */
  rows?: number;
  /** A plan for any parameters. PostgreSQL keeps one if it expects no other to be cheaper. */
  isGeneric?: boolean;
}

/** The plans of a statement. Changes no row. */
export type Explain = (sql: string, params: SqlValue[]) => Promise<Plan[]>;

type Asked = [sql: string, params: SqlValue[]];

/** A database of the product that tells the plans of its engine. */
export interface PlannedDb {
  readonly db: Db;
  readonly explain: Explain;
}

/**
 * The engines, with and without statistics. PostgreSQL analyses its tables by itself. Nothing runs ANALYZE on a SQLite
 * file, so plans must be good without statistics, and stay good with them.
 */
export const engines = [
  ['sqlite', 'not analysed'],
  ['sqlite', 'analysed'],
  ['postgres', 'analysed'],
] as const;

/** Opens a database before the tests of a `describe` for one of `engines`, and fills it. */
export function usePlannedDb(of: {
  engine: Db['engine'];
  analysed: (typeof engines)[number][1];
  fill(db: Db): Promise<void>;
}): PlannedDb {
  const { engine, analysed, fill } = of;
  let db: Db;
  let explain: Explain;
  let client: Client | undefined;
  beforeAll(async () => {
    if (engine === 'sqlite') {
      db = openSqlite(':memory:');
      explain = explainSqlite(db);
    } else {
      const url = await testDatabase();
      db = openPostgres(url);
      client = new Client({ connectionString: url });
      await client.connect();
      explain = explainPostgres(client);
    }
    await migrate(db, await readMigrations(migrationsFolder, engine));
    await fill(db);
    if (analysed === 'analysed') await db.query('analyze');
  });
  afterAll(async () => {
    await client?.end();
    await db.close();
  });
  return {
    get db() {
      return db;
    },
    get explain() {
      return explain;
    },
  };
}

/** The plans of all statements of some work. */
export async function plansOf({ db, explain }: PlannedDb, work: (db: Db) => Promise<unknown>): Promise<Plan[]> {
  const asked: Asked[] = [];
  await work(recording(db, asked));
  return explainAll(explain, asked);
}

/** The statements of a transaction, which is rolled back, with their plans, and the value of its work. */
export async function plansOfTransaction<T>(
  { db, explain }: PlannedDb,
  work: (tx: Transaction) => Promise<T>,
): Promise<{ value: T; statements: string[]; plans: Plan[] }> {
  const asked: Asked[] = [];
  let value: T;
  const undone = db.transaction(async (tx) => {
    value = await work({ ...recording(tx, asked), lock: (name) => tx.lock(name) });
    throw new Undone();
  });
  await expect(undone).rejects.toBeInstanceOf(Undone);
  return { value: value!, statements: asked.map(([sql]) => sql), plans: await explainAll(explain, asked) };
}

/** Ends a transaction that must leave nothing behind. */
class Undone extends Error {
  override name = 'Undone';
}

/** The same database or transaction. Adds each statement to `asked`. */
function recording<D extends Queryable>(db: D, asked: Asked[]): D {
  return {
    ...db,
    query: (sql: string, params: SqlValue[] = []) => {
      asked.push([sql, params]);
      return db.query(sql, params);
    },
  };
}

async function explainAll(explain: Explain, asked: Asked[]): Promise<Plan[]> {
  const plans: Plan[] = [];
  for (const [sql, params] of asked) plans.push(...(await explain(sql, params)));
  return plans;
}

/** Expects that a plan reads only rows that it needs, from indexes and in their order. */
export function expectIndexed(
  { sql, lines, rows = 0 }: Plan,
  { rowsMax, sorts = false }: { rowsMax: number; sorts?: boolean },
) {
  const wrong = lines.filter((line) => isWhole(line) || (!sorts && /TEMP B-TREE|Sort/.test(line)));
  expect([sql, lines, wrong]).toEqual([sql, lines, []]);
  expect([sql, lines, rows <= rowsMax ? 'few rows' : rows]).toEqual([sql, lines, 'few rows']);
}

// A scan of a table or of a whole vault. Tables of the statement itself are small. The list of deleted vaults is the
// whole table in the order of an index, up to a limit.
function isWhole(line: string): boolean {
  if (/^(SCAN|Seq Scan on) (?!step|v\b|place|asked|awaited|deleted_vault|\(|CONSTANT)/.test(line)) return true;
  return /AUTOMATIC/.test(line) || /^SEARCH (?!dek).*\(vault_id=\?\)$/.test(line);
}

function explainSqlite(db: Db): Explain {
  return async (sql, params) => {
    const rows = await db.query<{ detail: string }>(`explain query plan ${sql}`, params);
    return [{ sql, lines: rows.map(({ detail }) => detail) }];
  };
}

interface PostgresNode {
  'Node Type': string;
  'Relation Name'?: string;
  'Index Name'?: string;
  'Actual Rows'?: number;
  'Actual Loops'?: number;
  'Rows Removed by Filter'?: number;
  Plans?: PostgresNode[];
}

// With the parameters known and without: after some executions PostgreSQL keeps a plan without them.
function explainPostgres(client: Client): Explain {
  const explained = async (how: string, sql: string, params?: SqlValue[]): Promise<Plan> => {
    const { rows } = await client.query<{ 'QUERY PLAN': { Plan: PostgresNode }[] }>(
      `explain (${how}, format json) ${sql}`,
      params,
    );
    const nodes = withChildren(rows[0]!['QUERY PLAN'][0]!.Plan);
    const touched = nodes.filter((node) => node['Relation Name'] !== undefined && node['Actual Rows'] !== undefined);
    return {
      sql,
      lines: nodes.map((node) => `${node['Node Type']} on ${node['Relation Name'] ?? '('} ${node['Index Name'] ?? ''}`),
      rows: touched.reduce((sum, node) => sum + touchedBy(node), 0),
    };
  };
  return async (sql, params) => {
    await client.query('begin');
    try {
      // The rows of an insert may be there already, so it is not executed.
      const how = sql.startsWith('insert') ? 'verbose' : 'analyze';
      return [await explained(how, sql, params), { ...(await explained('generic_plan', sql)), isGeneric: true }];
    } finally {
      await client.query('rollback');
    }
  };
}

function withChildren(node: PostgresNode): PostgresNode[] {
  return [node, ...(node.Plans ?? []).flatMap(withChildren)];
}

function touchedBy(node: PostgresNode): number {
  return (node['Actual Rows']! + (node['Rows Removed by Filter'] ?? 0)) * (node['Actual Loops'] ?? 1);
}
