import { existsSync } from 'node:fs';
import { chmod, copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';

import { replaceFile } from '@cardea/process/durable-file';
import { CannotStart } from '../cannot-start.ts';
import type { Say } from '../child.ts';
import { defaultPlace } from './choices.ts';
import type { Choices, Place } from './choices.ts';
import { buildImage, composeOf, hasImage, hasProject, root } from './docker.ts';
import type { Compose } from './docker.ts';
import { readEnv, writeEnv } from './env-file.ts';
import type { StackEnv } from './env-file.ts';
import { untilHealthy } from './health.ts';
import { takeCertificate } from './own-certificate.ts';
import { checkDocker, checkRequirements } from './requirements.ts';
import { apiService, installedStack, newStackEnv } from './stack-env.ts';
import { ensureStackFolder } from './stack-folder.ts';
import { ownFiles } from './stack-files.ts';
import { checkStackNames, checkStackPasswords, checkStackSettings } from './stack-settings.ts';
import type { Profile } from './stack-files.ts';
import { readSettledEnv } from './upgrade.ts';
import { keepVersionFiles, nameNewImage } from './version-files.ts';

/** Asks the operator what the command line did not say. */
export type Ask = (choices: Choices) => Promise<Choices & { profile: Profile; hosts: string[] }>;

const whatNext = 'when that is mended, run this command again: it goes on where it stopped';

/**
 * Installs the stack in `folder` and waits until it is healthy, or resumes what was interrupted. What is there already is
 * not changed. Resolves with the settings.
 * @throws CannotStart that says what to do
 */
export async function install(folder: string, choices: Choices, { ask, say }: { ask: Ask; say: Say }) {
  const progress = { say, patienceSeconds: choices.patienceSeconds };
  if (await readEnv(folder)) await checkDocker();
  const found = await readSettledEnv(folder, progress);
  const env = found ?? (await begin(folder, { ...defaultPlace, ...(await ask(choices)) }, say));
  checkStackNames(env);
  const stack = installedStack(env);
  if (found) await checkStackPasswords(folder, env);
  await nameOwnFiles(folder, env);
  for (const path of await ensureStackFolder(folder, stack, new Date())) say(`made ${path}`);
  if (choices.certificate) await takeCertificate(folder, choices.certificate, { hosts: stack.hosts, now: new Date() });

  const image = env['CARDEA_IMAGE']!;
  if (!(await hasImage(image))) {
    say(`building ${image}, which takes some minutes at first`);
    await buildImage(image);
  }
  await checkStackSettings(folder, env);
  const compose = composeOf(folder);
  const hasOwnFiles = choices.certificate !== undefined || ownFiles.some(({ variable }) => env[variable] !== undefined);
  if (hasOwnFiles && found) await handOutAgain(compose);
  say('starting the containers');
  await compose.show(['up', '--detach', '--no-build', '--quiet-pull', '--remove-orphans'], whatNext);
  await untilHealthy(compose, progress);
  // nginx reads a new certificate only when it is told to. Not by `docker compose kill`: after any signal of that kind
  // Docker takes a later crash for a stop by hand, and does not start the container again.
  await compose.run('exec', '--no-TTY', 'nginx', 'nginx', '-e', 'stderr', '-s', 'reload');
  await keepWebhookSecret(folder, compose, apiService(stack.profile));
  return env;
}

async function begin(folder: string, choices: Choices & Place & { profile: Profile; hosts: string[] }, say: Say) {
  const { profile, httpsPort, httpPort, grafanaPort, subnet } = choices;
  const ports = [httpsPort, httpPort, ...(profile === 'full' ? [grafanaPort] : [])];
  await checkRequirements({ profile, ports, subnet });
  if (await hasProject(choices.name)) {
    throw new CannotStart(
      `Docker has the containers or the data of another stack with the name ${choices.name}: say --folder with the folder of that stack, or another --name`,
    );
  }
  await mkdir(folder, { recursive: true, mode: 0o700 });
  if (choices.certificate)
    await takeCertificate(folder, choices.certificate, { hosts: choices.hosts, now: new Date() });
  const image = await nameNewImage(new Date());
  const versionFolder = await keepVersionFiles(folder, image);
  const env = await newStackEnv(choices, { folder, image, versionFolder });
  if (profile === 'full') env['CARDEA_ALERTMANAGER_FILE'] = await ownAlertmanager(folder);
  // Only the first keyring is made as this says.
  if (existsSync(join(folder, 'seal-passphrase'))) env['CARDEA_SEAL'] = 'passphrase';
  await writeEnv(folder, env);
  say(`the settings are in ${join(folder, '.env')}`);
  return env;
}

// The operator fills in who is told of alerts, and an upgrade must keep that.
async function ownAlertmanager(folder: string): Promise<string> {
  const path = join(folder, 'alertmanager.yml');
  if (!existsSync(path)) await copyFile(join(root, 'prometheus/alertmanager.yml'), path);
  // Its container runs as another user. The stack's folder itself is closed to others.
  await chmod(path, 0o644);
  return path;
}

/** Tells the containers, by the settings, which files of the operator are in the folder. */
async function nameOwnFiles(folder: string, env: StackEnv): Promise<void> {
  for (const { name, variable } of ownFiles) {
    if (existsSync(join(folder, name))) env[variable] = `/run/cardea/${name}`;
    else if (env[variable] !== undefined) env[variable] = '';
  }
  await writeEnv(folder, env);
}

async function handOutAgain(compose: Compose): Promise<void> {
  const isThere = (await compose.containers()).some(({ service }) => service === 'certificates');
  if (isThere) await compose.run('restart', 'certificates');
}

/** Makes the secret of the webhook that rotates the KEK, as long as the first admin has the first password. */
async function keepWebhookSecret(folder: string, compose: Compose, api: string): Promise<void> {
  const path = join(folder, 'webhook-secret');
  if (existsSync(path)) return;
  const secret = await compose.run('exec', '--no-TTY', api, 'node', 'deploy/stack/webhook-secret-main.ts');
  if (secret.trim() !== '') await replaceFile(path, secret, 0o600);
}
