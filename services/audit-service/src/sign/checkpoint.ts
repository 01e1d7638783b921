import { MINUTE_MS } from '@cardea/contracts/durations';
import { formatMillis, parseMicros } from '@cardea/contracts/audit-time';
import { signCheckpoint } from '@cardea/crypto/checkpoint';
import type { SigningKey } from '@cardea/crypto/checkpoint';
import { fromHex, toBase64, toHex } from '@cardea/crypto/encoding';
import { chainHash, genesis } from '@cardea/crypto/hash-chain';
import { compactRange } from '@cardea/crypto/merkle';
import { StartError } from '@cardea/process/config';
import type { Db } from '@cardea/storage/db';
import type { QueryIndex } from '../index/query-index.ts';
import { readEntryBytes, readHead, storedTree } from '../entry-store.ts';
import { parseEntry, parseEntryUnchecked } from '../entry-row.ts';
import type { ParseEntry } from '../entry-row.ts';
import { readLastSigned, writeLastSigned } from './last-signed.ts';
import type { LastSigned } from './last-signed.ts';
import { verifyStored } from './reread.ts';
import type { Verified } from './reread.ts';
import { TreeHead } from './tree-head.ts';

/** A quiet log signs again after this time, so that a log that has stopped is noticed. */
const HEARTBEAT_MS = 10 * MINUTE_MS;
const CLOCK_AHEAD_MS_MAX = 5 * MINUTE_MS;

export interface SignerOptions {
  origin: string;
  key: SigningKey;
  vkey: string;
  /** The folder of `last-signed.json`, outside the database. */
  folder: string;
  /** What questions about the log use. It is checked with the entries. */
  index: QueryIndex;
  /** Milliseconds since 1970. */
  now(): number;
}

/** Signs checkpoints of the entries that it has read again from disk, one at a time. */
export interface Signer {
  /** The newest checkpoint. */
  newest(): LastSigned;
  /** Signs if the log has grown, and returns the newest checkpoint. @throws FatalLogError if disk and log disagree */
  signIfGrown(): Promise<LastSigned>;
  /** Reads the new entries, so that signing has few left to read. Called every second. @throws FatalLogError */
  readAhead(): Promise<void>;
  /** Signs if the log has grown or the newest checkpoint is 10 minutes old. Called every 10 s. */
  tick(): Promise<void>;
}

/**
 * Compares the database with the last signed state, reads the entries since then again, and signs them.
 * @throws StartError `ROLLBACK DETECTED …`, or if the clock is behind the log
 */
export async function openSigner(db: Db, options: SignerOptions): Promise<Signer> {
  const { index } = options;
  await refuseClockBehind(db, options.now());
  let last = await readLastSigned(options.folder, options.vkey);
  let verified = last ? await refuseRollback(db, last) : await requireEmpty(db, options);
  let turn: Promise<unknown> = Promise.resolve();
  let readingAhead: Promise<void> | undefined;
  // Entries that came into the database before this start must pass the schema. Those of this process have passed it.
  let parse: ParseEntry = parseEntry;

  // One at a time. Two at once could sign in the wrong order.
  function takeTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = turn.then(work);
    turn = done.catch(() => undefined);
    return done;
  }

  function sign(isDue: (size: number, last: LastSigned) => boolean): Promise<LastSigned> {
    return takeTurn(async () => {
      const head = await readHead(db);
      if (last && !isDue(head.size, last)) return last;
      verified = await verifyStored({ db, index, parse }, verified, head);
      last = await signAndKeep(options, verified);
      return last;
    });
  }

  async function readAhead(): Promise<void> {
    const head = await readHead(db);
    if (head.size !== verified.tree.size) verified = await verifyStored({ db, index, parse }, verified, head);
  }

  const first = await sign(hasGrown);
  parse = parseEntryUnchecked;
  return {
    newest: () => last ?? first,
    signIfGrown: () => sign(hasGrown),
    readAhead() {
      // While a read of a hanging database waits, no second one starts.
      readingAhead ??= takeTurn(readAhead).finally(() => (readingAhead = undefined));
      return readingAhead;
    },
    async tick() {
      const nowMs = options.now();
      // Either way: the newest one may have been signed while the clock was ahead.
      const isOld = ({ signedAt }: LastSigned) => Math.abs(nowMs - Date.parse(signedAt)) >= HEARTBEAT_MS;
      await sign((size, last) => hasGrown(size, last) || isOld(last));
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
    `The newest audit entry was written at ${writtenAt}, but the clock says ${new Date(nowMs).toISOString()}: set the clock. If it is right and was ahead before, docs/operations.md (clock) says what to do.`,
  );
}

/** Returns the state of the log at the last signed size. Reading continues from there. */
async function refuseRollback(db: Db, last: LastSigned): Promise<Verified> {
  const { size } = await readHead(db);
  if (size < last.size) {
    throw rollback(`${last.size} entries were signed at ${last.signedAt} and the database has only ${size}`);
  }
  const chain = last.size === 0 ? undefined : await chainAt(db, last.size);
  const root = new TreeHead(await storedParts(db, last.size));
  if ((chain && toHex(chain) !== last.chain) || toBase64(root.root()) !== last.root) {
    throw rollback(`the first ${last.size} entries differ from those that were signed at ${last.signedAt}`);
  }
  return { tree: root, chain: fromHex(last.chain) };
}

async function chainAt(db: Db, size: number): Promise<Uint8Array> {
  const [entry] = await readEntryBytes(db, size - 1, size);
  if (!entry) throw rollback(`entry ${size - 1} was signed and is missing`);
  return chainHash(entry);
}

async function storedParts(db: Db, size: number) {
  try {
    return await compactRange(storedTree(db), 0, size);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw rollback(`some of the first ${size} entries are missing`);
  }
}

/** Returns the state before anything was signed. Only the first start has it, and then the log has no entries. */
async function requireEmpty(db: Db, { origin, key, folder }: SignerOptions): Promise<Verified> {
  const { size } = await readHead(db);
  if (size > 0) {
    throw new StartError(
      `ROLLBACK DETECTED: the audit log has ${size} entries, but last-signed.json is missing in ${folder}: restore that file.`,
    );
  }
  return { tree: new TreeHead([]), chain: genesis(origin, key.publicKey) };
}

/** Writes the file before anybody sees the checkpoint, so that no published checkpoint is ever forgotten. */
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
    `ROLLBACK DETECTED: ${what}. Do not continue with this database: restore the newest one, or begin a new log that names this one (docs/backup-restore.md).`,
  );
}
