/**
 * `node tools/generated.ts check` makes the generated files of the repository again and fails if one differs. With
 * `write` it writes them. It starts a Cardea for the OpenAPI file and a PostgreSQL for the schemas.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { dashboards } from '@cardea/grafana/dashboards';
import type { Db } from '@cardea/storage/db';
import { migrate, readMigrations } from '@cardea/storage/migrate';
import { openPostgres } from '@cardea/storage/postgres';
import { dumpSchema } from '@cardea/storage/schema-snapshot';
import { openSqlite } from '@cardea/storage/sqlite';
import { startPostgres } from '@cardea/testkit/servers';
import { createTestSystem } from '@cardea/testkit/system';

const root = new URL('../', import.meta.url);
const foldersWithMigrations = ['packages/vault', 'services/audit-service'];

const [mode] = process.argv.slice(2);
if (mode === 'write') await writeAll();
else if (mode === 'check') await checkAll();
else throw new Error('usage: node tools/generated.ts check|write');

async function writeAll(): Promise<void> {
  for (const { path, text } of await makeAll()) await writeFile(new URL(path, root), text);
}

async function checkAll(): Promise<void> {
  for (const { path, text } of await makeAll()) {
    const line = firstDifference(await readIfThere(path), text);
    if (line === undefined) continue;
    process.stderr.write(`${path} differs from the code at line ${line}: run \`pnpm generated:write\`\n`);
    process.exitCode = 1;
  }
}

interface GeneratedFile {
  /** Relative to the repository's root. */
  path: string;
  text: string;
}

async function makeAll(): Promise<GeneratedFile[]> {
  return [await fetchOpenApi(), ...(await makeSqliteSchemas()), ...(await makePostgresSchemas()), ...makeDashboards()];
}

// The file is read from a running system, because only that knows all its routes.
async function fetchOpenApi(): Promise<GeneratedFile> {
  await using system = await createTestSystem('mini');
  const answer = await fetch(`${system.url}/api/v1/openapi.json`);
  return { path: 'services/api-service/openapi.json', text: toJsonText(await answer.json()) };
}

function makeSqliteSchemas(): Promise<GeneratedFile[]> {
  return Promise.all(
    foldersWithMigrations.map((folder) => makeSchema(folder, 'schema.sqlite.txt', openSqlite(':memory:'))),
  );
}

async function makePostgresSchemas(): Promise<GeneratedFile[]> {
  const server = await startPostgres();
  try {
    return await Promise.all(
      foldersWithMigrations.map(async (folder) =>
        makeSchema(folder, 'schema.pg.txt', openPostgres(await server.createDatabase())),
      ),
    );
  } finally {
    await server.stop();
  }
}

async function makeSchema(folder: string, file: string, db: Db): Promise<GeneratedFile> {
  try {
    await migrate(db, await readMigrations(new URL(`${folder}/migrations/`, root), db.engine));
    return { path: `${folder}/${file}`, text: await dumpSchema(db) };
  } finally {
    await db.close();
  }
}

function makeDashboards(): GeneratedFile[] {
  return Object.entries(dashboards).map(([file, dashboard]) => ({
    path: `grafana/dashboards/${file}`,
    text: toJsonText(dashboard),
  }));
}

function toJsonText(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

async function readIfThere(path: string): Promise<string> {
  try {
    return await readFile(new URL(path, root), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return '';
  }
}

/** The number of the first line that differs, counted from 1, or undefined if the texts are equal. */
function firstDifference(found: string, wanted: string): number | undefined {
  if (found === wanted) return undefined;
  const foundLines = found.split('\n');
  return wanted.split('\n').findIndex((line, index) => line !== foundLines[index]) + 1 || foundLines.length;
}
