import { existsSync } from 'node:fs';
import { chmod, copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';

import { replaceFile } from '@cardea/process/durable-file';
import { CannotStart } from '../cannot-start.ts';
import type { Say } from '../child.ts';
import type { Choices } from './choices.ts';
import { buildImage, composeOf, hasImage, root } from './docker.ts';
import type { Compose } from './docker.ts';
import { readEnv, writeEnv } from './env-file.ts';
import type { StackEnv } from './env-file.ts';
import { untilHealthy } from './health.ts';
import { takeCertificate } from './own-certificate.ts';
import { checkDocker, checkRequirements } from './requirements.ts';
import { apiService, installedStack, newStackEnv } from './stack-env.ts';
import { ensureStackFolder } from './stack-folder.ts';
import type { Profile } from './stack-files.ts';
import { finishInterruptedUpgrade } from './upgrade.ts';
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
  const found = await readEnv(folder);
  if (found) {
    refuseOtherProfile(folder, found, choices);
    await checkDocker();
    await finishInterruptedUpgrade(folder, progress);
  }
  const env = found ?? (await begin(folder, await ask(choices), say));
  const stack = installedStack(env);
  for (const path of await ensureStackFolder(folder, stack, new Date())) say(`made ${path}`);
  if (choices.certificate) await takeCertificate(folder, choices.certificate, { hosts: stack.hosts, now: new Date() });

  const image = env['CARDEA_IMAGE']!;
  if (!(await hasImage(image))) {
    say(`building ${image}, which takes some minutes at first`);
    await buildImage(image);
  }
  const compose = composeOf(folder);
  if (choices.certificate && found) await handOutAgain(compose);
  say('starting the containers');
  await compose.show(['up', '--detach', '--no-build', '--quiet-pull', '--remove-orphans'], whatNext);
  await untilHealthy(compose, progress);
  // nginx reads a new certificate only when it is told to. Not by `docker compose kill`: after any signal of that kind
  // Docker takes a later crash for a stop by hand, and does not start the container again.
  await compose.run('exec', '--no-TTY', 'nginx', 'nginx', '-e', 'stderr', '-s', 'reload');
  await keepWebhookSecret(folder, compose, apiService(stack.profile));
  return env;
}

async function begin(folder: string, choices: Choices & { profile: Profile; hosts: string[] }, say: Say) {
  const { profile, httpsPort, httpPort, grafanaPort, subnet } = choices;
  const ports = [httpsPort, httpPort, ...(profile === 'full' ? [grafanaPort] : [])];
  await checkRequirements({ profile, ports, subnet });
  await mkdir(folder, { recursive: true, mode: 0o700 });
  if (choices.certificate)
    await takeCertificate(folder, choices.certificate, { hosts: choices.hosts, now: new Date() });
  const image = await nameNewImage(new Date());
  const versionFolder = await keepVersionFiles(folder, image);
  const env = await newStackEnv(choices, { folder, image, versionFolder });
  if (profile === 'full') env['CARDEA_ALERTMANAGER_FILE'] = await ownAlertmanager(folder);
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

function refuseOtherProfile(folder: string, env: StackEnv, choices: Choices): void {
  const { profile, hosts } = installedStack(env);
  if (choices.profile !== undefined && choices.profile !== profile) {
    throw new CannotStart(
      `the stack in ${folder} is of profile ${profile}, and data cannot move between profiles: use another --folder and --name`,
    );
  }
  if (choices.hosts !== undefined && choices.hosts.join() !== hosts.join()) {
    throw new CannotStart(
      `the stack in ${folder} is for ${hosts.join(',')}: write CARDEA_DOMAIN=${choices.hosts.join(',')} into ${join(folder, '.env')}, and run this command again without --domain`,
    );
  }
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
