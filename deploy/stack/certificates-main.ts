/**
 * The container `certificates`, which is the only one with the key of the CA and has no network. It renews the
 * certificates that are due, gives each container its files, and does so again each hour. It is healthy once every
 * container has its files.
 *
 * It runs as root, with the rights to give a file away and to read every file, because each container runs as another
 * user.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { withCause } from '@cardea/process/cause';

import { exitCannotStart, whyNot } from '../cannot-start.ts';
import { giveToOwner, handOut } from './hand-out.ts';
import { ensureStackFolder } from './stack-folder.ts';
import { handouts } from './stack-files.ts';
import type { Profile } from './stack-files.ts';

const HOUR_MS = 3_600_000;
const folder = '/stack';
const volumes = '/files';
const handedOut = '/tmp/handed-out';

process.on('SIGTERM', () => process.exit(0));
process.umask(0o077);
try {
  await renewAndHandOut();
  writeFileSync(handedOut, '');
} catch (error) {
  process.stderr.write(`${whyNot(error, 'the certificates cannot be handed out')}\n`);
  process.exit(exitCannotStart);
}
for (;;) {
  await sleep(HOUR_MS);
  await renewAndHandOut().catch((error: unknown) => {
    // The certificates in use have 30 days left at the first try.
    process.stderr.write(`${withCause('certificates were not renewed', error)}; next try in an hour\n`);
  });
}

async function renewAndHandOut(): Promise<void> {
  const profile: Profile = process.env['CARDEA_PROFILE'] === 'full' ? 'full' : 'mini';
  const hosts = (process.env['CARDEA_DOMAIN'] ?? 'localhost').split(',');
  const owners = {
    postgres: process.env['CARDEA_POSTGRES_USER'] ?? '999:999',
    redis: process.env['CARDEA_REDIS_USER'] ?? '999:999',
  };
  const made = await ensureStackFolder(folder, { profile, hosts }, new Date());
  await giveToOwner(folder, made.flatMap(withKey));
  const has = (path: string) => existsSync(join(folder, path));
  const written = await handOut(folder, volumes, handouts(profile, owners, has));
  for (const path of [...made, ...written]) process.stdout.write(`wrote ${path}\n`);
}

function withKey(path: string): string[] {
  return path.startsWith('tls/') ? [path, path.replace(/\.pem$/, '.key')] : [path];
}
