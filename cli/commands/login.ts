import type { Command } from 'commander';
import { act, describe } from '../command.ts';
import type { Context } from '../command.ts';
import { Failure, say, usage } from '../failure.ts';
import { askSecret, askText, isInteractive, readInput, readLines } from '../input.ts';
import { rememberUrl } from '../session-file.ts';

/** Signing in and out, and the own account. */
export function addLogin(program: Command): void {
  act(
    describe(
      program
        .command('login')
        .option('--username <name>', 'who signs in')
        .option('--password-file <file>', 'the password, on the first line of a file'),
      'Sign in as a user. Without a terminal, stdin has the password on its first line, and a code of TOTP on the second.',
      [
        'cardea login --username admin --password-file data/initial-admin-password',
        'cardea --url http://127.0.0.1:8400 login --username alice <password.txt',
      ],
    ),
    signIn,
  );

  act(
    describe(program.command('whoami'), 'Show who is signed in, and where.', ['cardea whoami', 'cardea whoami --json']),
    async ({ cardea, url, output }) => {
      const me = await cardea.auth.me();
      const grants = me.grants.map(({ vault, owner }) => (owner ? `${vault} (owner)` : vault));
      output.object(me, { name: me.name, type: me.type, role: me.role, server: url, vaults: grants.join(', ') });
    },
  );

  act(
    describe(
      program.command('password'),
      'Change your password. Without a terminal, stdin has the old one on its first line and the new one on the second.',
      ['cardea password <passwords.txt'],
    ),
    async ({ cardea, output }) => {
      const [current = '', next = ''] = isInteractive() ? await askPasswords() : await readLines();
      await cardea.auth.changePassword(current, next);
      output.done('The password is changed, and your other sessions have ended.');
    },
  );

  act(
    describe(program.command('logout'), 'End the session, here and at the server.', ['cardea logout']),
    async ({ cardea, output }) => {
      await cardea.auth.signOut();
      output.done('Signed out.');
    },
  );
}

interface SignInOptions {
  username?: string;
  passwordFile?: string;
}

async function signIn({ cardea, url, output }: Context, { username, passwordFile }: SignInOptions): Promise<void> {
  if (process.env['CARDEA_TOKEN'] ?? process.env['CARDEA_CLIENT_ID']) {
    throw usage('CARDEA_TOKEN or CARDEA_CLIENT_ID is set and would be used instead of a session. Unset it to sign in');
  }
  const name = username ?? (isInteractive() ? await askText(`Username at ${url}`) : undefined);
  if (name === undefined || name === '') throw usage('give a name with --username');
  const { password, otp } = await readCredentials(passwordFile);
  await cardea.auth.signIn({ username: name, password, ...(otp === '' ? {} : { otp }) });
  rememberUrl(url);
  const me = await cardea.auth.me();
  output.done(`Signed in to ${url} as ${me.name}.`, me);
  if (me.mustChangePassword !== true) return;
  if (!isInteractive()) return say('this password works once. Choose another with: cardea password');
  say('this password works once. Choose another.');
  await cardea.auth.changePassword(password, await askNewPassword());
}

async function readCredentials(passwordFile: string | undefined): Promise<{ password: string; otp: string }> {
  if (passwordFile !== undefined) {
    const [password = ''] = Buffer.from(await readInput(passwordFile))
      .toString('utf8')
      .split(/\r?\n/);
    return { password, otp: '' };
  }
  if (!isInteractive()) {
    const [password = '', otp = ''] = await readLines();
    return { password, otp };
  }
  const password = await askSecret('Password');
  return { password, otp: await askSecret('Code of your authenticator, or nothing') };
}

async function askPasswords(): Promise<[string, string]> {
  return [await askSecret('Current password'), await askNewPassword()];
}

async function askNewPassword(): Promise<string> {
  const password = await askSecret('New password');
  if ((await askSecret('New password again')) !== password) throw new Failure('these are two different passwords');
  return password;
}
