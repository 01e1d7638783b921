// Works on a keyring that no kek-service has open:
//   pnpm seal status | change-passphrase | generate-shares <shares> <threshold> | add-file | check-share | accept-keyring
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { PASSPHRASE_CHARACTERS, SHARES_MAX } from '@cardea/contracts/seal-api';
import { checkedArguments } from '@cardea/process/arguments';
import { StartError } from '@cardea/process/config';
import { refuseUnfinishedRestore } from '@cardea/process/data-folder';
import { runToEnd } from '@cardea/process/run';
import {
  acceptAsNewest,
  addFileSeal,
  changePassphrase,
  checkShare,
  describeSeals,
  generateShares,
} from './seal-commands.ts';
import type { Offline } from './seal-commands.ts';
import { readTyped } from './typed-secrets.ts';

const usage = `usage: pnpm seal status
       pnpm seal change-passphrase
       pnpm seal generate-shares <shares> <threshold>
       pnpm seal add-file
       pnpm seal check-share
       pnpm seal accept-keyring
Shares, one a line, or a passphrase are read from the standard input: of change-passphrase the current one and the new one. The keyring is in CARDEA_DATA_DIR (default: data).`;

const dataDir = resolve(process.env['CARDEA_DATA_DIR'] || 'data');
const passphraseFile = process.env['CARDEA_SEAL_PASSPHRASE_FILE'];
const offline: Offline = {
  config: { dataDir, ...(passphraseFile ? { passphraseFile } : {}) },
  typed: readLines,
  tell,
  now: Date.now(),
};

await runToEnd(() => runCommand(checkedArguments(process.argv.slice(2), { usage, wordsMax: 3 }).words));
// An operator who has been told of a mistake need not end the input.
if (process.exitCode) process.exit();

async function runCommand([command, ...rest]: string[]): Promise<void> {
  if (command === 'status') return print(await describeSeals(offline));
  if (command === 'check-share') return print(await checkShare(offline));
  refuseRunning();
  refuseUnfinishedRestore(dataDir);
  if (command === 'accept-keyring') return print(await acceptAsNewest(offline));
  if (command === 'change-passphrase') {
    const [current, next] = await readBothPassphrases();
    await changePassphrase(offline, current, next);
    return print([
      'The new passphrase opens the keyring now, and the old one no longer does. Older copies of the keyring still open by the old one.',
    ]);
  }
  if (command === 'add-file') {
    await addFileSeal(offline);
    return print([
      'The key of the new seal is in the file seal-key beside the keyring: back it up apart from the data.',
    ]);
  }
  if (command === 'generate-shares') {
    print(await generateShares(offline, splitOf(rest)));
    return tell('These are the only copies: give each to another person. Check each by pnpm seal check-share.');
  }
  throw new StartError(usage);
}

function splitOf([shares, threshold]: string[]): { shares: number; threshold: number } {
  const split = { shares: Number(shares), threshold: Number(threshold) };
  const isRight = Number.isInteger(split.shares) && Number.isInteger(split.threshold);
  if (isRight && split.threshold >= 2 && split.threshold <= split.shares && split.shares <= SHARES_MAX) return split;
  throw new StartError(`There are 2 to ${SHARES_MAX} shares, of which 2 or more open the seal.\n${usage}`);
}

// The supervisor of `pnpm start` leaves its process id there. A kek-service that runs by itself must be stopped by hand.
function refuseRunning(): void {
  const path = join(dataDir, 'cardea.pid');
  if (!existsSync(path)) return;
  const [pid] = readFileSync(path, 'utf8').split(' ');
  try {
    process.kill(Number(pid), 0);
  } catch (error) {
    // No such process: it did not end in order.
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return;
  }
  throw new StartError(
    `Cardea is running on ${dataDir} (process ${pid}): stop it first, or use the calls of docs/unseal.md.`,
  );
}

async function readBothPassphrases(): Promise<[string, string]> {
  const lines: string[] = [];
  const wanted = process.stdin.isTTY ? 3 : 2;
  for await (const line of readTyped('Current passphrase: ', 'New passphrase: ', 'New passphrase again: ')) {
    if (lines.push(line) === wanted) break;
  }
  const [current, next, again = next] = lines;
  if (current === undefined || next === undefined || lines.length < wanted) {
    throw new StartError(`Nothing was changed: a passphrase is missing.\n${usage}`);
  }
  if (again !== next) throw new StartError('Nothing was changed: the two new passphrases differ.');
  return [current, next];
}

async function readLines(): Promise<string[]> {
  if (process.stdin.isTTY) tell('Type the shares, one a line, or the passphrase; end with Ctrl-D:');
  const lines: string[] = [];
  for await (const line of createInterface({ input: process.stdin })) {
    if (line !== '') lines.push(line.slice(0, PASSPHRASE_CHARACTERS.max));
  }
  return lines;
}

function print(lines: string[]): void {
  for (const line of lines) process.stdout.write(`${line}\n`);
}

function tell(line: string): void {
  process.stderr.write(`${line}\n`);
}
