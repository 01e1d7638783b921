import { closeSync, openSync, writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import { bytesOf } from '@cardea/client';
import { act, describe } from '../../command.ts';
import type { Context } from '../../command.ts';
import { printValue } from '../../print-value.ts';

/** Reading a value, and finding names. */
export function addRead(program: Command, secret: Command): void {
  for (const command of [secret.command('get'), program.command('get')]) {
    const isShort = command.parent === program;
    act(
      describe(
        command
          .argument('<address>')
          .option('--out <file>', 'write the value into a new file that only you can read')
          .option('--no-resolve', 'a reference itself, not the secret that it names'),
        'Print the value of a secret and nothing else, with a newline only on a terminal.',
        isShort
          ? ['cardea get payments/db/password']
          : ['payments/db/password', 'payments/db/password@1', 'payments/db/password --json'].map(
              (words) => `cardea secret get ${words}`,
            ),
      ),
      getSecret,
    );
  }

  for (const command of [secret.command('list'), program.command('ls')]) {
    const isShort = command.parent === program;
    act(
      describe(
        command
          .argument(isShort ? '[place]' : '<place>', 'a vault, or a vault and a prefix like payments/db/')
          .option('--folders', 'only the next level of names')
          .option('--deleted', 'the trash')
          .option(
            '--expiring-before <time>',
            'what expires before a time like 2027-01-31T00:00:00Z, the soonest first',
          ),
        isShort
          ? 'List secrets as `secret list` does. Without a place, list the vaults.'
          : 'List the secrets of a vault, or those whose names begin with a prefix. Values are never listed.',
        isShort
          ? ['cardea ls', 'cardea ls payments/db/']
          : ['payments', 'payments/db/', 'payments --folders', 'payments --json'].map(
              (words) => `cardea secret list ${words}`,
            ),
      ),
      listSecrets,
    );
  }
}

async function getSecret(
  { cardea, output, json }: Context,
  address: string,
  { out, resolve }: { out?: string; resolve: boolean },
): Promise<void> {
  const secret = await cardea.secrets.get(address, { resolve });
  const bytes = bytesOf(secret);
  if (out !== undefined) {
    writeNewFile(out, bytes);
    return output.done(`${address} version ${secret.version} is in ${out}.`);
  }
  if (json) return output.object(secret);
  printValue(bytes, address, 'Use --out, a pipe, or --json');
}

interface ListFlags {
  folders?: boolean;
  deleted?: boolean;
  expiringBefore?: string;
}

async function listSecrets({ cardea, output }: Context, place: string | undefined, flags: ListFlags): Promise<void> {
  if (place === undefined) {
    return await output.table(cardea.vaults.list({ limit: 500 }), {
      vault: ({ name }) => name,
      description: ({ description }) => description,
    });
  }
  if (flags.folders === true) {
    return await output.table(cardea.secrets.folders(place, { limit: 500 }), {
      name: (item) => ('prefix' in item ? item.prefix : item.name),
      version: (item) => ('prefix' in item ? undefined : item.version),
    });
  }
  const { deleted, expiringBefore } = flags;
  await output.table(cardea.secrets.list(place, { limit: 500, deleted, expiringBefore }), {
    name: ({ name }) => name,
    version: ({ version }) => version,
    changed: ({ updatedAt }) => updatedAt,
    expires: ({ expiresAt }) => expiresAt,
    metadata: ({ metadata }) => metadata,
  });
}

/** Never replaces a file, and never shows a value to others, even for a moment. */
function writeNewFile(file: string, bytes: Uint8Array): void {
  const handle = openSync(file, 'wx', 0o600);
  try {
    writeFileSync(handle, bytes);
  } finally {
    closeSync(handle);
  }
}
