import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { StartError } from '@cardea/process/config';
import { UNFINISHED_RESTORE, refuseUnfinishedRestore } from '@cardea/process/data-folder';
import { syncFolder } from '@cardea/process/durable-file';

import { ARCHIVES, unpack } from './archives.ts';
import type { BackupId } from './archives.ts';
import { DATA_FOLDER_LOCK, lockByFile } from '../data-folder-lock.ts';
import { errorOutput } from '../settings-check.ts';

const checkLog = fileURLToPath(new URL('../../services/audit-service/src/check-log-main.ts', import.meta.url));

/**
 * Brings a backup into an empty data folder. Nothing but an unfinished folder is there before all of it is checked: the
 * files against their manifest, and the log against its chain, its tree and its last checkpoint. No start is possible until
 * all of it is in its place.
 * @returns when the backup was made, and what was found out about its log
 * @throws StartError, LockHeld
 */
export async function restore(source: string, dataDir: string): Promise<{ madeAt: string; log: string }> {
  for (const archive of ARCHIVES) {
    const path = join(source, archive);
    if (!existsSync(path)) throw new StartError(`There is no ${path}: put both archives of a backup into one folder.`);
  }
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const lock = lockByFile(
    join(dataDir, DATA_FOLDER_LOCK),
    (pid) => `A running Cardea or another restore uses ${dataDir} (process ${pid}): stop it, or let it end.`,
  );
  try {
    return await restoreAlone(source, dataDir);
  } finally {
    lock.release();
  }
}

async function restoreAlone(source: string, dataDir: string): Promise<{ madeAt: string; log: string }> {
  await refuseUsed(dataDir);
  // In the data folder, so that the last step only renames.
  const unfinished = join(dataDir, UNFINISHED_RESTORE);
  await rm(unfinished, { recursive: true, force: true });
  await mkdir(unfinished, { mode: 0o700 });
  await syncFolder(dataDir);
  const found = await checkedBackup(source, unfinished).catch(async (error: unknown) => {
    await rm(unfinished, { recursive: true, force: true });
    throw error;
  });
  for (const folder of ['kek', 'audit', 'api']) await rename(join(unfinished, folder), join(dataDir, folder));
  await syncFolder(dataDir);
  // The last step: until then a part may be missing, and Cardea does not start.
  await rm(unfinished, { recursive: true, force: true });
  return found;
}

async function checkedBackup(source: string, unfinished: string): Promise<{ madeAt: string; log: string }> {
  const found = await bringBack(source, unfinished);
  await refuseUsed(dirname(unfinished));
  return found;
}

async function refuseUsed(dataDir: string): Promise<void> {
  const others = (await readdir(dataDir)).filter((name) => name !== UNFINISHED_RESTORE && name !== DATA_FOLDER_LOCK);
  if (others.length === 0) return;
  refuseUnfinishedRestore(dataDir);
  throw new StartError(
    `${dataDir} is not empty (${others.slice(0, 3).join(', ')}), and nothing there is overwritten: move it away, or set CARDEA_DATA_DIR to another folder.`,
  );
}

async function bringBack(source: string, folder: string): Promise<{ madeAt: string; log: string }> {
  const ids = [];
  for (const archive of ARCHIVES) ids.push(await unpack(join(source, archive), folder));
  const [data, keys] = ids;
  if (data!.backup !== keys!.backup) {
    throw new StartError(`The archives in ${source} are of two backups, of ${data!.madeAt} and ${keys!.madeAt}.`);
  }
  // As the first start of kek-service leaves it. The archive has it writable, as tar may have to replace it.
  const sealKey = join(folder, 'kek/seal-key');
  if (existsSync(sealKey)) await chmod(sealKey, 0o400);
  return { madeAt: data!.madeAt, log: await checkedLog(folder, data!) };
}

/** Compares the log with its signatures, and lets it note which backup it comes from. */
async function checkedLog(folder: string, { backup, madeAt }: BackupId): Promise<string> {
  const env = { ...process.env, CARDEA_DATA_DIR: folder };
  const args = ['--disable-warning=ExperimentalWarning', checkLog, '--backup', backup, '--made-at', madeAt];
  try {
    return (await promisify(execFile)(process.execPath, args, { env })).stdout;
  } catch (error) {
    throw new StartError(`The audit log of the backup is not as it was signed: ${errorOutput(error)}`, {
      cause: error,
    });
  }
}
