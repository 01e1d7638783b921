import type { Db, SqlValue } from '@cardea/storage/db';
import { expect } from '@jest/globals';
import type { Client } from 'pg';

/** A statement and the plan of the engine for it. */
export interface Plan {
  sql: string;
  lines: string[];
  /** The number of rows read. Only PostgreSQL says it. */
  rows?: number;
}

export type Explain = (sql: string, params: SqlValue[]) => Promise<Plan[]>;

/** The plans of all statements of some work. */
export async function plansOf(db: Db, explain: Explain, work: (db: Db) => Promise<unknown>): Promise<Plan[]> {
  const asked: [string, SqlValue[]][] = [];
  const recording: Db = {
    ...db,
    query: (sql, params = []) => {
      asked.push([sql, params]);
      return db.query(sql, params);
    },
  };
  await work(recording);
  return (await Promise.all(asked.map(([sql, params]) => explain(sql, params)))).flat();
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

// A scan of a table or of a whole vault. Tables of the statement itself are small.
function isWhole(line: string): boolean {
  if (/^(SCAN|Seq Scan on) (?!step|v\b|place|asked|\(|CONSTANT)/.test(line)) return true;
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
  return async (sql, params) => [
    await explained(sql.startsWith('select') || sql.startsWith('with') ? 'analyze' : 'verbose', sql, params),
    await explained('generic_plan', sql),
  ];
}

function withChildren(node: PostgresNode): PostgresNode[] {
  return [node, ...(node.Plans ?? []).flatMap(withChildren)];
}

function touchedBy(node: PostgresNode): number {
  return (node['Actual Rows']! + (node['Rows Removed by Filter'] ?? 0)) * (node['Actual Loops'] ?? 1);
}
