import type { Db, Queryable, SqlValue } from '@cardea/storage/db';
import { expect } from '@jest/globals';
import type { Client } from 'pg';

/** A statement and the plan of the engine for it. */
export interface Plan {
  sql: string;
  lines: string[];
  /** The number of rows read. Only PostgreSQL says it. */
  rows?: number;
  /** A plan for any parameters. PostgreSQL keeps one if it expects no other to be cheaper. */
  isGeneric?: boolean;
}

/** Changes no row. */
export type Explain = (sql: string, params: SqlValue[]) => Promise<Plan[]>;

export type Asked = [sql: string, params: SqlValue[]];

/** The plans of all statements of some work. */
export async function plansOf(db: Db, explain: Explain, work: (db: Db) => Promise<unknown>): Promise<Plan[]> {
  const asked: Asked[] = [];
  await work(recording(db, asked));
  return explainAll(explain, asked);
}

/** The same database or transaction. Adds each statement to `asked`. */
export function recording<D extends Queryable>(db: D, asked: Asked[]): D {
  return {
    ...db,
    query: (sql: string, params: SqlValue[] = []) => {
      asked.push([sql, params]);
      return db.query(sql, params);
    },
  };
}

export async function explainAll(explain: Explain, asked: Asked[]): Promise<Plan[]> {
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

export function explainSqlite(db: Db): Explain {
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

/** With the parameters known and without: after some executions PostgreSQL keeps a plan without them. */
export function explainPostgres(client: Client): Explain {
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
      return [await explained('analyze', sql, params), { ...(await explained('generic_plan', sql)), isGeneric: true }];
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
