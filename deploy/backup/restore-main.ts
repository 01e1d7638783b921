// Brings a backup back into an empty data folder: pnpm restore <folder of the backup>
import { resolve } from 'node:path';

import { checkedArguments } from '@cardea/process/arguments';
import { StartError } from '@cardea/process/config';
import { runToEnd } from '@cardea/process/run';

import { dataFolderOf } from './data-folder.ts';
import { LockHeld } from '../data-folder-lock.ts';
import { restore } from './restore.ts';

const usage = `usage: pnpm restore <folder of a backup>
Brings a backup of pnpm backup into CARDEA_DATA_DIR (default: data), which must be empty, and checks it.`;

process.umask(0o077);
await runToEnd(run, { cannotStart: [LockHeld] });

async function run(): Promise<void> {
  const { words } = checkedArguments(process.argv.slice(2), { usage, wordsMax: 1 });
  const [folder] = words;
  if (folder === undefined) throw new StartError(usage);
  const dataDir = dataFolderOf(process.env);
  const { madeAt, log } = await restore(resolve(folder), dataDir);
  process.stdout.write(`${log}The backup of ${madeAt} is in ${dataDir}. Start Cardea.\n`);
}
