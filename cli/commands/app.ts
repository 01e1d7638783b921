import type { Command } from 'commander';
import { act, describe } from '../command.ts';
import { confirmLoss } from '../input.ts';
import { toDisabled, toExpiry } from './user.ts';

interface Fields {
  description?: string;
  cidrs?: string;
  expiresAt?: string;
  disable?: boolean;
  enable?: boolean;
}

/** Applications and their client secrets, for admins. */
export function addApp(program: Command): void {
  const app = program.command('app').description('Applications: programs that sign in with a client secret.');

  act(
    describe(
      app.command('create').argument('<name>').option('--description <text>').option('--cidrs <networks>', NETWORKS),
      'Create an application, and print its client id and secret. They are shown once.',
      ['cardea app create ci --description Builds --cidrs 127.0.0.0/8,::1/128'],
    ),
    async ({ cardea, output }, name: string, fields: Fields) => {
      const made = await cardea.applications.create({ name, ...toFields(fields) });
      output.object(made, { clientId: made.clientId, clientSecret: made.clientSecret });
    },
  );

  act(describe(app.command('list'), 'List the applications.', ['cardea app list']), async ({ cardea, output }) => {
    await output.table(cardea.applications.list({ limit: 500 }), {
      name: ({ name }) => name,
      description: ({ description }) => description,
      state: ({ disabled }) => (disabled ? 'disabled' : ''),
      networks: ({ allowedCidrs }) => allowedCidrs,
      expires: ({ expiresAt }) => expiresAt,
    });
  });

  act(
    describe(app.command('show').argument('<name>'), 'Show an application.', ['cardea app show ci']),
    async ({ cardea, output }, name: string) => output.object(await cardea.applications.get(name)),
  );

  act(
    describe(
      app
        .command('change')
        .argument('<name>')
        .option('--description <text>')
        .option('--cidrs <networks>', NETWORKS)
        .option('--expires-at <time>', 'ends at a time; "never" clears it')
        .option('--disable', 'its tokens stop at once')
        .option('--enable', 'works again'),
      'Change what is given of an application.',
      ['cardea app change ci --description "All builds"'],
    ),
    async ({ cardea, output }, name: string, fields: Fields) => {
      const changes = { ...toFields(fields), ...toDisabled(fields), ...toExpiry(fields.expiresAt) };
      output.object(await cardea.applications.change(name, changes));
    },
  );

  act(
    describe(
      app.command('add-credential').argument('<name>'),
      'Print a second client secret, to replace the first without downtime. It is shown once.',
      ['cardea app add-credential ci'],
    ),
    async ({ cardea, output }, name: string) => {
      const made = await cardea.applications.createCredential(name);
      output.object(made, { id: made.id, clientSecret: made.clientSecret });
    },
  );

  act(
    describe(
      app.command('credentials').argument('<name>'),
      'List the client secrets of an application, without them.',
      ['cardea app credentials ci'],
    ),
    async ({ cardea, output }, name: string) => {
      await output.table(cardea.applications.credentials(name), {
        id: ({ id }) => id,
        created: ({ createdAt }) => createdAt,
        used: ({ lastUsedAt }) => lastUsedAt,
        expires: ({ expiresAt }) => expiresAt,
      });
    },
  );

  act(
    describe(
      app.command('delete-credential').argument('<name>').argument('<id>'),
      'Withdraw a client secret. Its tokens stop at once.',
      ['cardea app delete-credential ci 01a229df-2139-779b-a82a-89232543b600'],
    ),
    async ({ cardea, output }, name: string, id: string) => {
      await cardea.applications.deleteCredential(name, id);
      output.done('The client secret is withdrawn.');
    },
  );

  act(
    describe(
      app.command('delete').argument('<name>').option('--yes', 'do not ask'),
      'Delete an application with its client secrets and grants.',
      ['cardea app delete ci --yes'],
    ),
    async ({ cardea, output }, name: string, { yes }: { yes?: boolean }) => {
      await confirmLoss(name, `This deletes the application ${name}.`, { yes: yes === true });
      await cardea.applications.delete(name);
      output.done(`${name} is deleted.`);
    },
  );
}

const NETWORKS = 'only from these networks, such as 10.0.0.0/8';

function toFields({ description, cidrs }: Fields) {
  return {
    ...(description === undefined ? {} : { description }),
    ...(cidrs === undefined ? {} : { allowedCidrs: cidrs === '' ? [] : cidrs.split(',') }),
  };
}
