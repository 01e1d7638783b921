import type { Command } from 'commander';
import type { Client } from '@cardea/client';
import { act, describe } from '../command.ts';
import { usage } from '../failure.ts';
import { confirmLoss } from '../input.ts';

type Role = Parameters<Client['users']['create']>[0]['role'];

interface UserChanges {
  role?: Role;
  disable?: boolean;
  enable?: boolean;
  expiresAt?: string;
}

/** Users, for admins. */
export function addUser(program: Command): void {
  const user = program.command('user').description('Users: people, with a role.');

  act(
    describe(
      user
        .command('create')
        .argument('<username>')
        .requiredOption('--role <role>', 'admin, developer or ceo')
        .option('--expires-at <time>', 'ends at a time like 2027-01-31T00:00:00Z'),
      'Create a user, and print a one-time password, which must be changed at the first sign-in.',
      ['cardea user create dave --role developer'],
    ),
    async ({ cardea, output, json }, username: string, { role, expiresAt }: { role: Role; expiresAt?: string }) => {
      const made = await cardea.users.create({ username, role, ...(expiresAt === undefined ? {} : { expiresAt }) });
      if (json) output.object(made);
      else output.done(`${made.oneTimePassword}`);
    },
  );

  act(describe(user.command('list'), 'List the users.', ['cardea user list']), async ({ cardea, output }) => {
    await output.table(cardea.users.list({ limit: 500 }), {
      username: ({ username }) => username,
      role: ({ role }) => role,
      state: ({ disabled, locked }) => (disabled ? 'disabled' : locked ? 'locked' : ''),
      totp: ({ totp }) => (totp ? 'yes' : 'no'),
      expires: ({ expiresAt }) => expiresAt,
    });
  });

  act(
    describe(user.command('show').argument('<username>'), 'Show a user.', ['cardea user show dave']),
    async ({ cardea, output }, username: string) => output.object(await cardea.users.get(username)),
  );

  act(
    describe(
      user
        .command('change')
        .argument('<username>')
        .option('--role <role>', 'admin, developer or ceo')
        .option('--disable', 'may not sign in, and all sessions stop')
        .option('--enable', 'may sign in again')
        .option('--expires-at <time>', 'ends at a time; "never" clears it'),
      'Change what is given of a user.',
      ['cardea user change dave --disable', 'cardea user change dave --enable --expires-at never'],
    ),
    async ({ cardea, output }, username: string, { role, disable, enable, expiresAt }: UserChanges) => {
      output.object(
        await cardea.users.change(username, {
          ...(role === undefined ? {} : { role }),
          ...toDisabled({ disable, enable }),
          ...toExpiry(expiresAt),
        }),
      );
    },
  );

  act(
    describe(
      user.command('reset-password').argument('<username>'),
      'Print a new one-time password. All sessions end, and TOTP is off.',
      ['cardea user reset-password dave'],
    ),
    async ({ cardea, output, json }, username: string) => {
      const made = await cardea.users.resetPassword(username);
      if (json) output.object(made);
      else output.done(made.oneTimePassword);
    },
  );

  act(
    describe(user.command('unlock').argument('<username>'), 'Forget the failed sign-ins of a user.', [
      'cardea user unlock dave',
    ]),
    async ({ cardea, output }, username: string) => {
      await cardea.users.unlock(username);
      output.done(`${username} is unlocked.`);
    },
  );

  act(
    describe(user.command('revoke-sessions').argument('<username>'), 'End every session of a user.', [
      'cardea user revoke-sessions dave',
    ]),
    async ({ cardea, output }, username: string) => {
      await cardea.users.revokeSessions(username);
      output.done(`Every session of ${username} has ended.`);
    },
  );

  act(
    describe(
      user
        .command('delete')
        .argument('<username>')
        .option('--successor <username>', 'gets the vaults of which the user is the only owner')
        .option('--yes', 'do not ask'),
      'Delete a user.',
      ['cardea user delete dave --yes'],
    ),
    async ({ cardea, output }, username: string, options: { successor?: string; yes?: boolean }) => {
      const { successor, yes } = options;
      await confirmLoss(username, `This deletes the user ${username}.`, { yes: yes === true });
      await cardea.users.delete(username, successor === undefined ? {} : { successor });
      output.done(`${username} is deleted.`);
    },
  );
}

/** `--disable` and `--enable` as the field of the contract. */
export function toDisabled({ disable, enable }: { disable?: boolean | undefined; enable?: boolean | undefined }) {
  if (disable === true && enable === true) throw usage('give either --disable or --enable');
  return disable === true || enable === true ? { disabled: disable === true } : {};
}

/** A time, or `never`. */
export function toExpiry(expiresAt: string | undefined): { expiresAt?: string | null } {
  return expiresAt === undefined ? {} : { expiresAt: expiresAt === 'never' ? null : expiresAt };
}
