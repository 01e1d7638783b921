import type { Command } from 'commander';
import { parseAddress } from '@cardea/client';
import type { Client } from '@cardea/client';
import { act, describe } from '../../command.ts';
import { confirmLoss } from '../../input.ts';

type NewKey = Parameters<Client['keys']['create']>[1];

interface CreateOptions {
  exportable?: boolean;
  deletionProtection?: boolean;
  rotationPeriod?: number;
}

/** The life of a key: from its making to its end. */
export function addKeyLife(key: Command): void {
  act(
    describe(
      key
        .command('create')
        .argument('<address>')
        .argument('<algorithm>', 'such as aes-256-gcm, ed25519 or hmac-sha256: docs/keys.md')
        .option('--exportable', 'may be exported, wrapped to a public key')
        .option('--deletion-protection', 'cannot be deleted while it is set')
        .option('--rotation-period <seconds>', 'a new version after so many seconds', Number),
      'Make a key.',
      [
        'cardea key create payments/cards aes-256-gcm',
        'cardea key create payments/signer ed25519 --deletion-protection',
      ],
    ),
    async ({ cardea, output }, address: string, algorithm: NewKey['algorithm'], options: CreateOptions) => {
      const { vault, name } = parseAddress(address);
      const { rotationPeriod, ...flags } = options;
      const period = rotationPeriod === undefined ? {} : { rotationPeriodSeconds: rotationPeriod };
      const made = await cardea.keys.create(vault, { name, algorithm, ...flags, ...period });
      output.done(`${address} version ${made.currentVersion}`, made);
    },
  );

  act(
    describe(key.command('list').argument('<vault>'), 'List the keys of a vault.', ['cardea key list payments']),
    async ({ cardea, output }, vault: string) => {
      await output.table(cardea.keys.list(vault, { limit: 500 }), {
        name: ({ name }) => name,
        algorithm: ({ algorithm }) => algorithm,
        version: ({ currentVersion }) => currentVersion,
        deleted: ({ deleteAt }) => deleteAt,
        created: ({ createdAt }) => createdAt,
      });
    },
  );

  act(
    describe(
      key.command('show').argument('<address>').option('--public-key', 'print only the public half, in PEM'),
      'Show a key without its material.',
      ['cardea key show payments/cards', 'cardea key show payments/signer --public-key'],
    ),
    async ({ cardea, output }, address: string, { publicKey }: { publicKey?: boolean }) => {
      const shown = await cardea.keys.get(address);
      if (publicKey === true) output.done((shown.publicKeyPem ?? '').trimEnd(), { publicKeyPem: shown.publicKeyPem });
      else output.object(shown);
    },
  );

  act(
    describe(key.command('versions').argument('<address>'), 'List the versions of a key, the newest first.', [
      'cardea key versions payments/cards',
    ]),
    async ({ cardea, output }, address: string) => {
      await output.table(cardea.keys.versions(address, { limit: 500 }), {
        version: ({ version }) => version,
        state: ({ state }) => state,
        created: ({ createdAt }) => createdAt,
        by: ({ createdBy }) => createdBy.name ?? createdBy.id,
        used: ({ uses }) => uses.map(({ operation, last30Days }) => `${operation} ${last30Days}`),
      });
    },
  );

  act(
    describe(key.command('rotate').argument('<address>'), 'Make a new version, which encrypts and signs from now on.', [
      'cardea key rotate payments/cards',
    ]),
    async ({ cardea, output }, address: string) => {
      const rotated = await cardea.keys.rotate(address);
      output.done(`${address} version ${rotated.currentVersion}`, rotated);
    },
  );

  for (const [verb, state] of [
    ['disable', 'disabled'],
    ['enable', 'enabled'],
    ['destroy', 'destroyed'],
  ] as const) {
    const isLoss = state === 'destroyed';
    const command = key.command(verb).argument('<address>', 'a key and a version, as payments/cards@1');
    if (isLoss) command.option('--yes', 'do not ask');
    const sentence = isLoss ? 'Destroy a version of a key for ever.' : `Make a version of a key ${state}.`;
    act(
      describe(command, sentence, [`cardea key ${verb} payments/cards@1${isLoss ? ' --yes' : ''}`]),
      async ({ cardea, output }, address: string, { yes }: { yes?: boolean }) => {
        if (isLoss) {
          const lost = `This destroys ${address}: what it has encrypted is lost for ever.`;
          await confirmLoss(address, lost, { yes: yes === true });
        }
        output.done(`${address} is ${state}.`, await cardea.keys.changeVersion(address, { state }));
      },
    );
  }

  act(
    describe(
      key
        .command('delete')
        .argument('<address>')
        .option('--days <days>', 'when it is destroyed: after 7 to 30 days', Number, 30)
        .option('--yes', 'do not ask'),
      'Delete a key. It does nothing from now on, and is destroyed after some days.',
      ['cardea key delete payments/cards --days 7 --yes'],
    ),
    async ({ cardea, output }, address: string, { days, yes }: { days: number; yes?: boolean }) => {
      await confirmLoss(address, `${address} does nothing from now on, and is destroyed later.`, { yes: yes === true });
      const deleted = await cardea.keys.delete(address, { pendingDays: days });
      output.done(
        `${address} is destroyed at ${deleted.deleteAt}. Take it back with: cardea key restore ${address}`,
        deleted,
      );
    },
  );

  act(
    describe(key.command('restore').argument('<address>'), 'Take the deletion of a key back.', [
      'cardea key restore payments/cards',
    ]),
    async ({ cardea, output }, address: string) => {
      output.done(`${address} works again.`, await cardea.keys.restore(address));
    },
  );
}
