import { formatMillis, parseMicros } from '@cardea/contracts/audit-time';
import { signCheckpoint } from '@cardea/crypto/checkpoint';
import type { SigningKey } from '@cardea/crypto/checkpoint';
import { fromHex, toBase64, toHex } from '@cardea/crypto/encoding';
import { chainHash, genesis } from '@cardea/crypto/hash-chain';
import { compactRange } from '@cardea/crypto/merkle';
import { StartError } from '@cardea/process/config';
import type { Db } from '@cardea/storage/db';
import { readEntryBytes, readHead, storedTree } from './entry-store.ts';
import { parseEntry, parseEntryUnchecked } from './entry-row.ts';
import type { ParseEntry } from './entry-row.ts';
import { readLastSigned, writeLastSigned } from './last-signed.ts';
import type { LastSigned } from './last-signed.ts';
import { verifyStored } from './reread.ts';
import type { Verified } from './reread.ts';
import { TreeHead } from './tree-head.ts';

const MINUTE_MS = 60_000;
/** A quiet log signs again after this, so that silence shows. */
const HEARTBEAT_MS = 10 * MINUTE_MS;
const CLOCK_AHEAD_MS_MAX = 5 * MINUTE_MS;

export interface SignerOptions {
  origin: string;
  key: SigningKey;
  vkey: string;
  /** Where `last-signed.json` is: outside the database. */
  folder: string;
  /** Milliseconds since 1970. */
  now(): number;
}

/** Signs checkpoints of what it has read again from disk, one at a time. */
export interface Signer {
  /** The newest checkpoint. */
  newest(): LastSigned;
  /** Signs if the log has grown since, and answers the newest. @throws FatalLogError if disk and log disagree */
  signIfGrown(): Promise<LastSigned>;
  /** To be called every second: reads what is new, so that little is left to read when it is signed. @throws FatalLogError */
  readAhead(): Promise<void>;
  /** To be called every 10 s: signs if the log has grown, or if the newest checkpoint is 10 minutes old. */
  tick(): Promise<void>;
}

/**
 * Compares the database with what was signed last, reads again what is new since, and signs it.
 * @throws StartError `ROLLBACK DETECTED …`, or if the clock is behind the log
 */
export async function openSigner(db: Db, options: SignerOptions): Promise<Signer> {
  await refuseClockBehind(db, options.now());
  let last = await readLastSigned(options.folder, options.vkey);
  let verified = last ? await refuseRollback(db, last) : await requireEmpty(db, options);
  let turn: Promise<unknown> = Promise.resolve();
  let readingAhead: Promise<void> | undefined;
  // What came into the database while nobody looked has to pass the schema; what this process appends has passed it.
  let parse: ParseEntry = parseEntry;

  // One at a time: two that ran together could sign in the wrong order.
  function takeTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = turn.then(work);
    turn = done.catch(() => undefined);
    return done;
  }

  function sign(isDue: (size: number, last: LastSigned) => boolean): Promise<LastSigned> {
    return takeTurn(async () => {
      const head = await readHead(db);
      if (last && !isDue(head.size, last)) return last;
      verified = await verifyStored(db, verified, head, parse);
      last = await signAndKeep(options, verified);
      return last;
    });
  }

  async function readAhead(): Promise<void> {
    const head = await readHead(db);
    if (head.size !== verified.tree.size) verified = await verifyStored(db, verified, head, parse);
  }

  const first = await sign(hasGrown);
  parse = parseEntryUnchecked;
  return {
    newest: () => last ?? first,
    signIfGrown: () => sign(hasGrown),
    readAhead() {
      // Of a database that hangs nothing more is asked.
      readingAhead ??= takeTurn(readAhead).finally(() => (readingAhead = undefined));
      return readingAhead;
    },
    async tick() {
      const nowMs = options.now();
      await sign((size, last) => hasGrown(size, last) || nowMs - Date.parse(last.signedAt) >= HEARTBEAT_MS);
    },
  };
}

function hasGrown(size: number, last: LastSigned): boolean {
  return size !== last.size;
}

async function refuseClockBehind(db: Db, nowMs: number): Promise<void> {
  const { size } = await readHead(db);
  const [entry] = size === 0 ? [] : await readEntryBytes(db, size - 1, size);
  if (!entry) return;
  const { writtenAt } = parseEntry(entry);
  if (parseMicros(writtenAt) / 1000 - nowMs <= CLOCK_AHEAD_MS_MAX) return;
  throw new StartError(
    `The newest audit entry was written at ${writtenAt}, but the clock says ${new Date(nowMs).toISOString()}: set the clock right.`,
  );
}

/** Answers the state of the log at the size that was signed last, from which reading goes on. */
async function refuseRollback(db: Db, last: LastSigned): Promise<Verified> {
  const { size } = await readHead(db);
  if (size < last.size) {
    throw rollback(`${last.size} entries were signed at ${last.signedAt} and the database has only ${size}`);
  }
  const chain = last.size === 0 ? undefined : await chainAt(db, last.size);
  const root = new TreeHead(await storedParts(db, last.size));
  if ((chain && toHex(chain) !== last.chain) || toBase64(root.root()) !== last.root) {
    throw rollback(`the first ${last.size} entries are not those that were signed at ${last.signedAt}`);
  }
  return { tree: root, chain: fromHex(last.chain) };
}

async function chainAt(db: Db, size: number): Promise<Uint8Array> {
  const [entry] = await readEntryBytes(db, size - 1, size);
  if (!entry) throw rollback(`entry ${size - 1} was signed and is gone`);
  return chainHash(entry);
}

async function storedParts(db: Db, size: number) {
  try {
    return await compactRange(storedTree(db), 0, size);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw rollback(`some of the first ${size} entries are gone`);
  }
}

/** Nothing was ever signed. That is so at the first start only, and then there are no entries. */
async function requireEmpty(db: Db, { origin, key, folder }: SignerOptions): Promise<Verified> {
  const { size } = await readHead(db);
  if (size > 0) {
    throw new StartError(
      `ROLLBACK DETECTED: the audit log has ${size} entries, but last-signed.json is missing in ${folder}: restore that file.`,
    );
  }
  return { tree: new TreeHead([]), chain: genesis(origin, key.publicKey) };
}

/** The file first: a checkpoint that anybody has seen is never forgotten. */
async function signAndKeep(options: SignerOptions, { tree, chain }: Verified): Promise<LastSigned> {
  const { origin, key, folder, now } = options;
  const root = tree.root();
  const signed = {
    origin,
    size: tree.size,
    root: toBase64(root),
    chain: toHex(chain),
    note: signCheckpoint(key, { origin, size: tree.size, root }),
    signedAt: formatMillis(now()),
  };
  await writeLastSigned(folder, signed);
  return signed;
}

function rollback(what: string): StartError {
  return new StartError(
    `ROLLBACK DETECTED: ${what}. Do not go on with this database: restore the newest one, or move the audit folder away and begin a new log.`,
  );
}
