import { execFile } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { AuditEntry } from '@cardea/contracts/audit-api';
import { leafHash } from '@cardea/crypto/hash-chain';
import type { z } from 'zod';
import type { Client } from './client.ts';
import { Violation } from './ledger.ts';

const run = promisify(execFile);
const verifier = fileURLToPath(new URL('../../services/audit-service/src/verifier.mjs', import.meta.url));

/** An entry and the RFC 6962 leaf hash of its exact bytes, base64. */
export interface LoggedEntry {
  entry: z.output<typeof AuditEntry>;
  leaf: string;
}

/**
 * Exports the whole log, verifies it against the first and the newest held checkpoint (a checkpoint signed before a
 * crash must still be true after it), and returns the entries.
 * @throws Violation if the verifier refuses the export
 */
export async function exportAuditLog(
  client: Pick<Client, 'exportAuditLog'>,
  wanted: { folder: string; dataDir: string; held: string[] },
): Promise<LoggedEntry[]> {
  const folder = await mkdtemp(join(wanted.folder, 'export-'));
  const tar = join(folder, 'export.tar');
  await client.exportAuditLog(tar);

  const key = (await readFile(join(wanted.dataDir, 'audit', 'verifier-key'), 'utf8')).trim();
  await verify(['--key', key, tar]);
  for (const held of [wanted.held.at(0), wanted.held.at(-1)]) {
    if (held === undefined) continue;
    const file = join(folder, 'held');
    await writeFile(file, held);
    await verify(['--key', key, tar, '--checkpoint', file]);
  }
  await run('tar', ['-xf', tar, '-C', folder]);
  const entries = await readEntries(folder);
  await rm(folder, { recursive: true });
  return entries;
}

async function verify(words: string[]): Promise<void> {
  try {
    await run(process.execPath, [verifier, ...words]);
  } catch (error) {
    const { code, stderr } = error as { code?: number; stderr?: string };
    throw new Violation(`the verifier refuses the export with ${code}: ${stderr}`, { cause: error });
  }
}

async function readEntries(folder: string): Promise<LoggedEntry[]> {
  const entries: LoggedEntry[] = [];
  for (const name of await readdir(folder)) {
    if (!name.endsWith('.jsonl')) continue;
    for await (const line of createInterface({ input: createReadStream(join(folder, name)) })) {
      const leaf = Buffer.from(leafHash(Buffer.from(line))).toString('base64');
      entries.push({ entry: JSON.parse(line) as LoggedEntry['entry'], leaf });
    }
  }
  return entries.sort((a, b) => a.entry.seq - b.entry.seq);
}
