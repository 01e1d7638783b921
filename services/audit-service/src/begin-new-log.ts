import { existsSync } from 'node:fs';
import { mkdir, readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import {
  CheckpointError,
  generateSeed,
  openCheckpoint,
  parseVerifierKey,
  signingKeyFromSeed,
  successionStatement,
  verifierKey,
} from '@cardea/crypto/checkpoint';
import type { SigningKey } from '@cardea/crypto/checkpoint';
import { toBase64, toHex } from '@cardea/crypto/encoding';
import { StartError } from '@cardea/process/config';
import { readIfThere, replaceFile, syncFolder } from '@cardea/process/durable-file';
import { plannedLogPath, previousLogPath, readPreviousLog } from './previous-log.ts';
import type { PreviousLog } from './previous-log.ts';
import { RESTORED_LOG } from './restored-log.ts';
import { readLastSigned } from './sign/last-signed.ts';
import { readSigningKey } from './sign/signing-key.ts';

/** Why a new log begins, and what its operator knows of the old one. */
export interface NewLog {
  origin: string;
  reason: string;
  /** A checkpoint of the old log that was kept elsewhere. */
  checkpoint?: string | undefined;
  at: Date;
}

/**
 * Puts the files of a log that cannot go on into a subfolder, and a new signing key in their place. Nothing is deleted.
 * The first entry of the new log will name the old one and its last known checkpoint. Whatever a crash leaves undone,
 * the next call does, and no log starts before. The caller must know that audit-service does not run.
 * @throws StartError if there is no log, or no checkpoint that its key has signed
 */
export async function beginNewLog(folder: string, asked: NewLog): Promise<PreviousLog> {
  const planned = plannedLogPath(folder);
  const previous = (await readPreviousLog(planned)) ?? (await plan(folder, asked));
  // Without its new key, all files are in their places already.
  if (existsSync(join(folder, NEW_KEY))) await moveFiles(folder, join(folder, previous.folder));
  // Last: until then, a start is refused.
  await rename(planned, previousLogPath(folder));
  await syncFolder(folder);
  return previous;
}

async function moveFiles(folder: string, old: string): Promise<void> {
  await mkdir(old, { recursive: true, mode: 0o700 });
  const files = (await readdir(folder, { withFileTypes: true })).filter((file) => file.isFile());
  for (const { name } of files) if (!isOfNewLog(name)) await rename(join(folder, name), join(old, name));
  await syncFolder(old);
  await rename(join(folder, NEW_KEY), join(folder, 'signing-key'));
  await syncFolder(folder);
}

const NEW_KEY = 'new-signing-key';

function isOfNewLog(name: string): boolean {
  // The note of a restore is about the data, and the new log gets the record.
  return name === NEW_KEY || name === 'new-log.json' || name === RESTORED_LOG || name.endsWith('-lock');
}

async function plan(folder: string, { origin, reason, checkpoint, at }: NewLog): Promise<PreviousLog> {
  const vkey = (await readIfThere(join(folder, 'verifier-key')))?.trim();
  if (vkey === undefined)
    throw new StartError(`There is no verifier-key in ${folder}: set CARDEA_DATA_DIR, or put it back.`);
  const note = await newestOf(folder, vkey, checkpoint);
  // A record cuts a longer text, and then nobody could check the signature.
  if (note.length > 512)
    throw new StartError('The checkpoint has more than 512 characters, and the new log cannot name it.');
  const seed = generateSeed();
  const next = verifierKey(origin, signingKeyFromSeed(seed).publicKey);
  const oldKey = await readOldKey(folder, vkey);
  const endorsement = oldKey?.sign(successionStatement({ verifierKey: vkey, checkpoint: note, next }));
  const previous = {
    verifierKey: vkey,
    checkpoint: note,
    ...(endorsement === undefined ? {} : { endorsement: toBase64(endorsement) }),
    reason,
    folder: `until-${at.toISOString().replaceAll(/[:.]/g, '-')}`,
  };
  await replaceFile(join(folder, NEW_KEY), `${toHex(seed)}\n`, 0o600);
  await replaceFile(plannedLogPath(folder), `${JSON.stringify(previous, undefined, 2)}\n`, 0o600);
  return previous;
}

/** The key that signed the old log. A lost or damaged one is a reason to begin a new log, and another one cannot endorse it. */
async function readOldKey(folder: string, vkey: string): Promise<SigningKey | undefined> {
  const path = join(folder, 'signing-key');
  if (!existsSync(path)) return undefined;
  try {
    const key = await readSigningKey(path);
    return verifierKey(parseVerifierKey(vkey).origin, key.publicKey) === vkey ? key : undefined;
  } catch (error) {
    if (error instanceof StartError) return undefined;
    throw error;
  }
}

/** The checkpoint that signs the most entries: the last one that was signed here, or the given one. */
async function newestOf(folder: string, vkey: string, given: string | undefined): Promise<string> {
  const kept = given === undefined ? undefined : { note: given, size: sizeOf(given, vkey) };
  const own = await readLastSigned(folder, vkey).catch((error: unknown) => {
    if (kept && error instanceof StartError) return undefined;
    throw error;
  });
  const [newest] = [kept, own].filter((one) => one !== undefined).toSorted((a, b) => b.size - a.size);
  if (newest) return newest.note;
  throw new StartError(
    `There is no last-signed.json in ${folder}: give a checkpoint that was kept elsewhere with --checkpoint <file>.`,
  );
}

function sizeOf(note: string, vkey: string): number {
  try {
    return openCheckpoint(note, vkey).size;
  } catch (cause) {
    if (!(cause instanceof CheckpointError)) throw cause;
    throw new StartError(`The given checkpoint is not one of the log ${vkey}: ${cause.message}.`, { cause });
  }
}
