// Backs profile mini up while it runs: pnpm backup <new folder>
import { resolve } from 'node:path';

import { checkedArguments } from '@cardea/process/arguments';
import { StartError } from '@cardea/process/config';
import { runToEnd } from '@cardea/process/run';

import { backUp } from './backup.ts';
import { dataFolderOf } from './data-folder.ts';

const usage = `usage: pnpm backup <new folder>
Writes cardea-data.tar, cardea-keys.tar and checkpoint into a new folder. Cardea may run.
The installation is in CARDEA_DATA_DIR (default: data).`;

process.umask(0o077);
await runToEnd(async () => {
  const { words } = checkedArguments(process.argv.slice(2), { usage, wordsMax: 1 });
  const [folder] = words;
  if (folder === undefined) throw new StartError(usage);
  const target = resolve(folder);
  await backUp(dataFolderOf(process.env), target, new Date());
  process.stdout.write(`The backup is in ${target}. Keep cardea-keys.tar apart from cardea-data.tar.\n`);
});
