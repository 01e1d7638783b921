import type { Command } from 'commander';
import { parseAddress } from '@cardea/client';
import { act, describe } from '../../command.ts';
import { usage } from '../../failure.ts';
import { confirmLoss } from '../../input.ts';
import { withWriteOptions, toWrite, written } from './write.ts';
import type { WriteOptions } from './write.ts';

/** Versions of a secret, and its way into the trash and out of it. */
export function addVersions(secret: Command): void {
  act(
    describe(secret.command('versions').argument('<address>'), 'List the versions of a secret, the newest first.', [
      'cardea secret versions payments/db/password',
    ]),
    async ({ cardea, output }, address: string) => {
      await output.table(cardea.secrets.versions(address, { limit: 500 }), {
        version: ({ version }) => version,
        state: ({ state }) => state,
        written: ({ createdAt }) => createdAt,
        by: ({ createdBy }) => createdBy.name ?? createdBy.id,
        expires: ({ expiresAt }) => expiresAt,
        read: ({ lastReadAt }) => lastReadAt,
        'read by': ({ lastReadBy }) => lastReadBy?.name ?? lastReadBy?.id,
      });
    },
  );

  act(
    describe(
      secret
        .command('rollback')
        .argument('<address>', 'a secret and the version to store again, as payments/db/password@3'),
      'Store the value of an old version as the newest.',
      ['cardea secret rollback payments/db/password@1'],
    ),
    async ({ cardea, output }, address: string) => {
      const { version } = parseAddress(address);
      if (version === undefined) throw usage(`say which version, as in ${address}@3`);
      written(output, address, await cardea.secrets.rollback(address, version));
    },
  );

  act(
    describe(
      secret.command('destroy').argument('<address>', 'a secret and a version').option('--yes', 'do not ask'),
      'Destroy the value of one version for ever.',
      ['cardea secret destroy payments/app/old@1 --yes'],
    ),
    async ({ cardea, output }, address: string, { yes }: { yes?: boolean }) => {
      const { version } = parseAddress(address);
      if (version === undefined) throw usage(`say which version, as in ${address}@3`);
      await confirmLoss(address, `This destroys the value of ${address} for ever.`, { yes: yes === true });
      output.done(`${address} is destroyed.`, await cardea.secrets.destroy(address, [version]));
    },
  );

  act(
    describe(secret.command('delete').argument('<address>'), 'Put a secret into the trash.', [
      'cardea secret delete payments/app/old',
    ]),
    async ({ cardea, output }, address: string) => {
      const { dependants } = await cardea.secrets.delete(address);
      const broken = dependants === 0 ? '' : ` ${dependants} references pointed to it.`;
      output.done(`${address} is in the trash.${broken}`, { dependants });
    },
  );

  act(
    describe(secret.command('restore').argument('<address>'), 'Take a secret out of the trash.', [
      'cardea secret restore payments/app/old',
    ]),
    async ({ cardea, output }, address: string) => {
      const restored = await cardea.secrets.restore(address);
      output.done(`${address} version ${restored.version}`, restored);
    },
  );

  act(
    describe(
      secret.command('purge').argument('<address>').option('--yes', 'do not ask'),
      'Remove a secret with all its versions for ever.',
      ['cardea secret purge payments/app/old --yes'],
    ),
    async ({ cardea, output }, address: string, { yes }: { yes?: boolean }) => {
      await confirmLoss(address, `This removes ${address} with all its versions for ever.`, { yes: yes === true });
      await cardea.secrets.purge(address);
      output.done(`${address} is purged.`);
    },
  );

  act(
    describe(secret.command('move').argument('<from>').argument('<to>'), 'Move a secret with its versions.', [
      'cardea secret move payments/app/from payments/app/to',
    ]),
    async ({ cardea, output }, from: string, to: string) => {
      const moved = await cardea.secrets.move(from, to);
      output.done(`${from} is now ${moved.vault}/${moved.name}.`, moved);
    },
  );

  act(
    describe(
      withWriteOptions(
        secret
          .command('generate')
          .argument('<address>')
          .option('--length <characters>', '8 to 4096; 32 if it is not given', Number)
          .option('--alphabet <name>', 'alphanumeric, lowercase, digits, hex, base64url or ascii'),
      ),
      'Store a random value as the newest version, without showing it.',
      ['cardea secret generate payments/api/token --length 40 --alphabet base64url'],
    ),
    async ({ cardea, output }, address: string, options: WriteOptions & { length?: number; alphabet?: 'ascii' }) => {
      const { length, alphabet } = options;
      const given = { ...(length === undefined ? {} : { length }), ...(alphabet === undefined ? {} : { alphabet }) };
      written(output, address, await cardea.secrets.generate(address, { ...toWrite(options), ...given }));
    },
  );
}
