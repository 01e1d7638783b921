// Begins a new audit log after one that cannot go on: pnpm new-log "<reason>"
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { CHECK_SETTINGS, checkedArguments } from '@cardea/process/arguments';
import { withCause } from '@cardea/process/cause';
import { StartError } from '@cardea/process/config';
import { refuseUnfinishedRestore } from '@cardea/process/data-folder';
import { runToEnd } from '@cardea/process/run';
import { DbRefused } from '@cardea/storage/db';
import { ownSqliteFile } from '@cardea/storage/sqlite-ownership';
import { beginNewLog } from './begin-new-log.ts';
import { readNewLogConfig } from './config.ts';
import type { PreviousLog } from './previous-log.ts';

const usage = `usage: pnpm new-log "<reason>" [--checkpoint <file>] | --check-settings
Begins a new audit log with a new key, when the old one is lost or damaged and there is no backup of it: docs/backup-restore.md.
Nothing is deleted. The first entry of the new log names the old one, its last checkpoint and the reason.
  --checkpoint <file>   a checkpoint of the old log that was kept elsewhere, if it is newer than audit/last-signed.json
The log is in CARDEA_DATA_DIR (default: data). Stop Cardea first.`;

await runToEnd(begin, { cannotStart: [DbRefused] });

async function begin(): Promise<void> {
  const options = { checkpoint: 'value', [CHECK_SETTINGS]: 'flag' } as const;
  const { said, words } = checkedArguments(process.argv.slice(2), { usage, options, wordsMax: 1 });
  const { folder, origin } = readNewLogConfig(process.env);
  if (CHECK_SETTINGS in said) return;
  const reason = words[0]?.trim();
  if (!reason || reason.length > 1_000) throw new StartError(usage);
  refuseUnfinishedRestore(dirname(folder));
  const checkpoint = said['checkpoint'] === undefined ? undefined : read(said['checkpoint']);
  const release = await own(folder);
  try {
    const previous = await beginNewLog(folder, { origin, reason, checkpoint, at: new Date() });
    process.stdout.write(`The old log is in ${join(folder, previous.folder)}. The next start begins the new one.\n`);
    process.stderr.write(
      `Give the new audit/verifier-key to those who verify; ${signedBy(previous)}. ` +
        'In profile full, give audit-service an empty database first.\n',
    );
  } finally {
    release();
  }
}

function signedBy({ endorsement, verifierKey }: PreviousLog): string {
  if (endorsement !== undefined) return 'the old key has signed it';
  return `the old key has NOT signed it, because signing-key is missing, unreadable or not the key of ${verifierKey}`;
}

// The lock of the database of profile mini. In full, nothing says that audit-service runs.
async function own(folder: string): Promise<() => void> {
  try {
    return await ownSqliteFile(join(folder, 'audit.db'));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause;
    throw new StartError(`There is no folder ${folder}: set CARDEA_DATA_DIR to the folder of the installation.`, {
      cause,
    });
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new StartError(`${withCause(`The checkpoint ${path} cannot be read`, cause)}.`, { cause });
  }
}
