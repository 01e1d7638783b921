import { existsSync, rmSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readFile, readdir, rename, rm } from 'node:fs/promises';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';

import { StartError } from '@cardea/process/config';
import { refuseUnfinishedRestore } from '@cardea/process/data-folder';
import { syncFolder, writeNewFile } from '@cardea/process/durable-file';
import { openSqliteSnapshot } from '@cardea/storage/sqlite-snapshot';
import type { SqliteSnapshot } from '@cardea/storage/sqlite-snapshot';

import { newBackupId, pack } from './archives.ts';

const API_DATABASE = 'api/cardea.db';
const AUDIT_DATABASE = 'audit/audit.db';
const LAST_SIGNED = 'audit/last-signed.json';
const SNAPSHOT_TRIES = 100;

/** All parts of an installation as they were at one moment. */
interface Moment {
  api: SqliteSnapshot;
  audit: SqliteSnapshot;
  /** The files of the folder `kek`, by name. */
  kek: Map<string, Buffer>;
  lastSigned: Buffer;
}

/**
 * Backs an installation of profile mini up into the new folder `target`, also while it runs. The folder is there only
 * once the backup is whole. A signal that ends the process leaves nothing.
 * @throws StartError
 */
export async function backUp(dataDir: string, target: string, now: Date): Promise<void> {
  if (existsSync(target)) throw new StartError(`${target} exists: name a folder that does not.`);
  refuseUnfinishedRestore(dataDir);
  if (!existsSync(join(dataDir, API_DATABASE))) {
    throw new StartError(`${dataDir} has no ${API_DATABASE}: set CARDEA_DATA_DIR to the data folder of profile mini.`);
  }
  await mkdir(dirname(target), { recursive: true, mode: 0o700 });
  // A name of its own, because another backup may be under way. The mode is 0o700.
  const unfinished = await mkdtemp(`${target}.unfinished-`);
  const signalsHandled = removeOnSignal(unfinished);
  try {
    await writeBackup(dataDir, unfinished, now);
    await rename(unfinished, target);
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true });
    if (!existsSync(target)) throw error;
    throw new StartError(`${target} exists now: another backup has made it.`, { cause: error });
  } finally {
    signalsHandled.abort();
  }
  await syncFolder(dirname(target));
}

/** A folder that has the data and the keys must not stay. Ends the process at SIGINT and SIGTERM, until it is aborted. */
function removeOnSignal(folder: string): AbortController {
  const end = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    const remove = () => {
      // A try again is for a file that tar has made meanwhile.
      rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
      process.exit(128 + constants.signals[signal]);
    };
    process.on(signal, remove);
    end.signal.addEventListener('abort', () => process.off(signal, remove));
  }
  return end;
}

async function writeBackup(dataDir: string, target: string, now: Date): Promise<void> {
  const [data, keys] = [join(target, 'data'), join(target, 'keys')];
  for (const folder of [join(data, 'api'), join(data, 'audit'), join(keys, 'audit'), join(keys, 'kek')]) {
    await mkdir(folder, { recursive: true, mode: 0o700 });
  }
  const { api, audit, kek, lastSigned } = await oneMoment(dataDir);
  try {
    await api.copyTo(join(data, API_DATABASE));
    await audit.copyTo(join(data, AUDIT_DATABASE));
  } finally {
    api.close();
    audit.close();
  }
  await writeNewFile(join(data, LAST_SIGNED), lastSigned, 0o600);
  for (const [name, content] of kek) await writeNewFile(join(keys, 'kek', name), content, 0o600);
  await copyFile(join(dataDir, 'audit/signing-key'), join(keys, 'audit/signing-key'));

  const id = newBackupId(now);
  await pack(data, join(target, 'cardea-data.tar'), id);
  await pack(keys, join(target, 'cardea-keys.tar'), id);
  const { note } = JSON.parse(lastSigned.toString()) as { note: string };
  await writeNewFile(join(target, 'checkpoint'), note, 0o600);
  for (const folder of [data, keys]) await rm(folder, { recursive: true });
  await syncFolder(target);
}

/**
 * The order makes the parts fit:
 * - The log after the database: a change of the database is in its outbox or in the log, so the log lacks none.
 * - `last-signed.json` before the log, which must not be shorter than what was signed.
 * - The keyring before and after the database, and again if it has changed: it then has every KEK that wraps a DEK there.
 */
async function oneMoment(dataDir: string): Promise<Moment> {
  for (let tries = 0; tries < SNAPSHOT_TRIES; tries += 1) {
    const kek = await readKek(dataDir);
    const lastSigned = await readFile(join(dataDir, LAST_SIGNED));
    const api = openSqliteSnapshot(join(dataDir, API_DATABASE));
    const audit = openSqliteSnapshot(join(dataDir, AUDIT_DATABASE));
    if (isSame(kek, await readKek(dataDir))) return { api, audit, kek, lastSigned };
    api.close();
    audit.close();
  }
  throw new StartError('The keyring changes all the time, so no moment could be copied: try again.');
}

async function readKek(dataDir: string): Promise<Map<string, Buffer>> {
  const folder = join(dataDir, 'kek');
  const files = new Map<string, Buffer>();
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    // A file of this ending is being written.
    if (!entry.isFile() || entry.name.endsWith('.tmp')) continue;
    const content = await readFile(join(folder, entry.name)).catch(unlessGone);
    if (content) files.set(entry.name, content);
  }
  return files;
}

function unlessGone(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
}

function isSame(one: Map<string, Buffer>, other: Map<string, Buffer>): boolean {
  return one.size === other.size && [...one].every(([name, content]) => other.get(name)?.equals(content));
}
