import { Readable } from 'node:stream';
import type { LogRange } from '@cardea/contracts/audit-api';
import { formatMillis } from '@cardea/contracts/audit-time';
import { AppError } from '@cardea/contracts/errors';
import { toBase64 } from '@cardea/crypto/encoding';
import { compactRange } from '@cardea/crypto/merkle';
import type { RangePart } from '@cardea/crypto/merkle';
import type { Db } from '@cardea/storage/db';
import { pack as createPack } from 'tar-stream';
import type { Pack } from 'tar-stream';
import type { Signer } from '../sign/checkpoint.ts';
import { parseEntry } from '../entry-row.ts';
import { readEntryBytes, storedTree } from '../entry-store.ts';
import type { LastSigned } from '../sign/last-signed.ts';
import { positionsOf } from './positions.ts';

const FILE_ENTRIES_MAX = 4_096;
const PAGE_ENTRIES = 256;
const LF = Buffer.from('\n');

export interface ExportContext {
  db: Db;
  signer: Signer;
  /** Milliseconds since 1970. */
  now(): number;
}

/** The entries [from, to) under the checkpoint that covers them. */
interface Part {
  from: number;
  to: number;
  checkpoint: LastSigned;
}

/**
 * Exports a part of the log as a tar that the verifier reads. Without an end, the export ends at the newest entry.
 * Keeps one file of at most 4,096 entries in memory at a time. An error destroys the stream, so that a reader cannot
 * take a part for the whole.
 * @throws AppError `invalid_request` if the log has no such range
 */
export async function exportLog(ctx: ExportContext, range: LogRange): Promise<Readable> {
  const checkpoint = await ctx.signer.signIfGrown();
  const part = { ...(await positionsOf(ctx.db, range, checkpoint.size)), checkpoint };
  const isWholeEmptyLog = checkpoint.size === 0 && part.from === 0 && part.to === 0;
  if ((range.toSeq ?? 0) > checkpoint.size || (part.from >= part.to && !isWholeEmptyLog)) {
    throw new AppError('invalid_request', `the log has no such entries: it has ${checkpoint.size}, numbered from 0`);
  }
  const pack = createPack();
  fill(ctx, pack, part).catch((error: unknown) => pack.destroy(error as Error));
  // The stream of the tar is not a Node stream. This makes one that pauses, fails and closes like Node's streams.
  return Readable.from(pack, { objectMode: false });
}

async function fill(ctx: ExportContext, pack: Pack, part: Part): Promise<void> {
  const add = (name: string, content: string | Buffer) => addFile(pack, { name, content, madeAt: new Date(ctx.now()) });

  await add('manifest.json', json(manifest(part, ctx.now())));
  await add('checkpoint', part.checkpoint.note);
  if (part.from > 0 || part.to < part.checkpoint.size) await add('range.json', json(await surroundings(ctx.db, part)));
  for (const file of entryFiles(part)) await add(file.name, await readLines(ctx.db, file));
  pack.finalize();
}

function manifest({ from, to, checkpoint }: Part, nowMs: number) {
  const files = entryFiles({ from, to }).map((file) => file.name);
  const { origin, size } = checkpoint;
  return { v: 1, origin, size, from, to, files, madeAt: formatMillis(nowMs) };
}

/** The last number in a name belongs to the file: entries-0-4095.jsonl has 4,096 entries. */
function entryFiles({ from, to }: { from: number; to: number }): { name: string; from: number; to: number }[] {
  const count = Math.ceil((to - from) / FILE_ENTRIES_MAX);
  return Array.from({ length: count }, (_, index) => {
    const first = from + index * FILE_ENTRIES_MAX;
    const end = Math.min(first + FILE_ENTRIES_MAX, to);
    return { name: `entries-${first}-${end - 1}.jsonl`, from: first, to: end };
  });
}

/** Ties a part of the log to the root, by `prev` of its first entry and the subtrees to its left and right. */
async function surroundings(db: Db, { from, to, checkpoint }: Part) {
  const tree = storedTree(db);
  const [first] = await readEntryBytes(db, from, from + 1);
  if (!first) throw new Error(`entry ${from} is missing`);
  return {
    v: 1,
    from,
    to,
    size: checkpoint.size,
    prev: parseEntry(first).prev,
    left: (await compactRange(tree, 0, from)).map(toJsonPart),
    right: (await compactRange(tree, to, checkpoint.size)).map(toJsonPart),
  };
}

function toJsonPart({ from, to, hash }: RangePart) {
  return { from, to, hash: toBase64(hash) };
}

// In small pages: to read megabytes at once would keep appends waiting.
async function readLines(db: Db, { from, to }: { from: number; to: number }): Promise<Buffer> {
  const lines: Uint8Array[] = [];
  for (let first = from; first < to; first += PAGE_ENTRIES) {
    const end = Math.min(first + PAGE_ENTRIES, to);
    const entries = await readEntryBytes(db, first, end);
    if (entries.length !== end - first) throw new Error(`entries between ${first} and ${end} are missing`);
    for (const entry of entries) lines.push(entry, LF);
  }
  return Buffer.concat(lines);
}

/** Adds a file. Resolves when the reader has taken it. */
function addFile(pack: Pack, file: { name: string; content: string | Buffer; madeAt: Date }): Promise<void> {
  const content = typeof file.content === 'string' ? Buffer.from(file.content) : file.content;
  const header = { name: file.name, size: content.length, mode: 0o644, mtime: file.madeAt };
  return new Promise((resolve, reject) => {
    // A file fails together with its archive, if the reader disconnects or the database fails.
    pack.entry(header, content, (error) => (error ? reject(error) : resolve())).on('error', reject);
  });
}

function json(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}
