import type { Command } from 'commander';
import { act, describe } from '../command.ts';
import { usage } from '../failure.ts';
import { confirmLoss } from '../input.ts';

interface Fields {
  description?: string;
  maxVersions?: number;
  publicJwks?: boolean;
}

/** Vaults. */
export function addVault(program: Command): void {
  const vault = program.command('vault').description('Vaults: the places of secrets and keys.');

  act(
    describe(
      vault
        .command('create')
        .argument('<vault>')
        .option('--description <text>')
        .option('--max-versions <count>', VERSIONS, Number),
      'Create a vault. You become its owner.',
      ['cardea vault create shop --description "Web shop" --max-versions 20'],
    ),
    async ({ cardea, output }, name: string, fields: Fields) => {
      const made = await cardea.vaults.create({ name, ...fields });
      output.done(`${made.name} is created, and you own it.`, made);
    },
  );

  act(
    describe(vault.command('list'), 'List the vaults that you may see.', [
      'cardea vault list',
      'cardea vault list --json',
    ]),
    async ({ cardea, output }) => {
      await output.table(cardea.vaults.list({ limit: 500 }), {
        name: ({ name }) => name,
        description: ({ description }) => description,
        created: ({ createdAt }) => createdAt,
      });
    },
  );

  act(
    describe(vault.command('show').argument('<vault>'), 'Show a vault.', ['cardea vault show payments']),
    async ({ cardea, output }, name: string) => output.object(await cardea.vaults.get(name)),
  );

  act(
    describe(
      vault
        .command('change')
        .argument('<vault>')
        .option('--description <text>')
        .option('--max-versions <count>', VERSIONS, Number)
        .option('--public-jwks', 'let everybody read the public halves of its keys')
        .option('--no-public-jwks', 'let nobody but its users read them'),
      'Change what is given of a vault.',
      ['cardea vault change shop --description "The web shop" --public-jwks'],
    ),
    async ({ cardea, output }, name: string, fields: Fields) => {
      if (Object.keys(fields).length === 0) throw usage('say what to change, such as --description');
      output.object(await cardea.vaults.change(name, fields));
    },
  );

  act(
    describe(
      vault
        .command('delete')
        .argument('<vault>')
        .option('--recursive', 'also its secrets and keys')
        .option('--yes', 'do not ask'),
      'Delete a vault for ever.',
      ['cardea vault delete shop --recursive --yes'],
    ),
    async ({ cardea, output }, name: string, { recursive, yes }: { recursive?: boolean; yes?: boolean }) => {
      const what = recursive === true ? ' with its secrets and keys' : '';
      await confirmLoss(name, `This deletes the vault ${name}${what} for ever.`, { yes: yes === true });
      await cardea.vaults.delete(name, { recursive: recursive === true });
      output.done(`${name} is deleted.`);
    },
  );
}

const VERSIONS = 'how many versions of a secret are kept';
