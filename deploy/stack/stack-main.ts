/** `pnpm run stack` installs, upgrades and removes Cardea with Docker Compose: docs/install.md. */
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline/promises';

import { closeToOthers } from '@cardea/process/private-mode';
import { CannotStart, exitCannotStart, whyNot } from '../cannot-start.ts';
import { parseChoices, parseHosts, parseProfile } from './choices.ts';
import type { Choices } from './choices.ts';
import { hasImage, root } from './docker.ts';
import { readEnv } from './env-file.ts';
import type { StackEnv } from './env-file.ts';
import { giveAllToOwner } from './hand-out.ts';
import { install } from './install.ts';
import type { Ask } from './install.ts';
import { refuseOtherChoices } from './other-choices.ts';
import { apiService, installedStack } from './stack-env.ts';
import { lockStack } from './stack-lock.ts';
import { checkStackNames, checkStackPasswords, checkStackSettings } from './stack-settings.ts';
import { uninstall } from './uninstall.ts';
import { upgrade } from './upgrade.ts';

// Of the stack's folder. Containers get copies of single files.
const withSecrets = ['', '.env', 'secrets', 'tls', 'backups'];

process.umask(0o077);
try {
  await run(parseChoices(process.argv.slice(2)));
} catch (error) {
  // The message of a failed command has what the command said.
  const isCommand = error instanceof Error && 'cmd' in error;
  process.stderr.write(`${isCommand ? error.message : whyNot(error, 'the command has failed')}\n`);
  process.exit(error instanceof CannotStart ? exitCannotStart : 1);
}

async function run(choices: Choices): Promise<void> {
  const folder = resolve(root, choices.folder);
  if (choices.action === 'check') return check(folder, choices);
  const unlock = await lockStack(folder, { ...choices, say });
  try {
    await act(folder, choices);
  } finally {
    await giveAllToOwner(folder);
    await unlock();
  }
}

async function check(folder: string, choices: Choices): Promise<void> {
  const env = await readEnv(folder);
  if (!env) return say(`the words are right; there is no stack in ${folder} yet`);
  refuseOtherChoices(folder, env, choices);
  installedStack(env);
  checkStackNames(env);
  await checkStackPasswords(folder, env);
  // The services know their settings, and they are in the image.
  const hasServices = await hasImage(env['CARDEA_IMAGE']!);
  if (hasServices) await checkStackSettings(folder, env);
  say(
    hasServices
      ? 'the settings are right'
      : `the settings are right, but the services of ${env['CARDEA_IMAGE']} could not be asked: the image is not built yet`,
  );
}

async function act(folder: string, choices: Choices): Promise<void> {
  closeToOthers(
    withSecrets.map((path) => join(folder, path)),
    say,
  );
  const env = await readEnv(folder);
  if (env) refuseOtherChoices(folder, env, choices);
  if (choices.action === 'install') return printInstalled(folder, await install(folder, choices, { ask, say }));
  if (choices.action === 'upgrade')
    return say(`the new version runs; the backup is in ${await upgrade(folder, { ...choices, say })}`);
  if (choices.deleteData && !choices.yes) await confirmDeletion(folder);
  await uninstall(folder, { ...choices, say });
  say(
    choices.deleteData
      ? 'removed, with all data; images of others, such as those of nginx and PostgreSQL, stay: `docker image ls` shows them'
      : `removed; the data and ${folder} are still there`,
  );
}

async function ask(choices: Choices): ReturnType<Ask> {
  const { profile, hosts } = choices;
  if (profile && hosts) return { ...choices, profile, hosts };
  if (choices.yes || !process.stdin.isTTY) {
    throw new CannotStart('say --profile and --domain, or run this in a terminal without --yes, and it asks');
  }
  const terminal = createInterface(process.stdin, process.stdout);
  try {
    return {
      ...choices,
      profile:
        profile ??
        parseProfile(
          (await terminal.question('Profile mini (SQLite) or full (PostgreSQL, Redis, dashboards)? [mini] ')) || 'mini',
        ),
      hosts:
        hosts ??
        parseHosts(
          (await terminal.question('Under which name or address will people reach it? [localhost] ')) || 'localhost',
        ),
    };
  } finally {
    terminal.close();
  }
}

async function confirmDeletion(folder: string): Promise<void> {
  if (!process.stdin.isTTY) throw new CannotStart('say --yes too: nobody can bring deleted data back');
  const terminal = createInterface(process.stdin, process.stdout);
  const question = `This deletes all secrets, keys, records and backups of the stack in ${folder}. Type "delete": `;
  const answer = await terminal.question(question);
  terminal.close();
  if (answer !== 'delete') throw new CannotStart('nothing was deleted');
}

function printInstalled(folder: string, env: StackEnv): void {
  const { profile, hosts } = installedStack(env);
  const port = env['CARDEA_HTTPS_PORT'] === '443' ? '' : `:${env['CARDEA_HTTPS_PORT']}`;
  const compose = `docker compose --env-file ${join(folder, '.env')}`;
  const lines = [
    `Cardea is ready: https://${hosts[0]}${port}`,
    '',
    `Password of the user admin, until it is changed:`,
    `  ${compose} exec ${apiService(profile)} cat /data/initial-admin-password`,
    ...(profile === 'full'
      ? [
          `Dashboards, on this machine only: http://127.0.0.1:${env['CARDEA_GRAFANA_PORT']}  (user admin, password in ${join(folder, 'secrets/grafana-admin')})`,
        ]
      : []),
    '',
    'Next:',
    `- Back up the key that opens everything: ${compose} cp kek:/data/kek kek-backup   (docs/backup-restore.md)`,
    `- Let clients trust the certificate of ${join(folder, 'tls/ca.pem')}, or install your own (docs/install.md)`,
    ...(profile === 'full' ? [`- Say who is told of alerts: ${join(folder, 'alertmanager.yml')}`] : []),
    `- The webhook that rotates the keys is signed with ${join(folder, 'webhook-secret')} (docs/webhooks.md)`,
    `- Look at it with: ${compose} ps`,
    '',
  ];
  process.stdout.write(`\n${lines.map((line) => `  ${line}`.trimEnd()).join('\n')}\n`);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
