import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';

import { readIfThere, replaceFile, syncFolder, writeNewFile } from '@cardea/process/durable-file';
import { CannotStart } from '../cannot-start.ts';
import { ensureCertificates } from '../certificates.ts';
import { redisUsers } from './redis-users.ts';
import { passwords, stackCertificates } from './stack-files.ts';
import type { Profile } from './stack-files.ts';

/** What the files of a stack depend on. */
export interface StackSettings {
  profile: Profile;
  /** The names and addresses under which people reach nginx. */
  hosts: string[];
}

/** The names of the passwords that the stack has been given, one a line. It is not in `secrets`, which may be lost as a whole. */
const knownPasswords = 'known-passwords';

/**
 * Makes everything in the stack's folder that is missing: certificates, passwords, and the files that programs need them
 * in. A password is made once and never changed. Only the owner can read the folder. Resolves with what was made, once it
 * is durable.
 *
 * @throws CannotStart if the certificates in the folder are damaged, or if a password is lost
 */
export async function ensureStackFolder(folder: string, settings: StackSettings, now: Date): Promise<string[]> {
  await refuseLostPasswords(folder, []);
  await mkdir(join(folder, 'secrets'), { recursive: true, mode: 0o700 });
  // certbot writes there, and nginx reads.
  await mkdir(join(folder, 'acme'), { recursive: true });
  await chmod(join(folder, 'acme'), 0o755);
  const made = await keepOutOfGit(folder);
  const { profile, hosts } = settings;
  const certificates = await ensureCertificates(join(folder, 'tls'), now, stackCertificates(profile, hosts));
  made.push(...[...certificates.made, ...certificates.renewed].map((name) => `tls/${name}.pem`));
  for (const name of passwords[profile]) {
    const path = `secrets/${name}`;
    if ((await readIfThere(join(folder, path))) !== undefined) continue;
    await writeNewFile(join(folder, path), `${randomPassword()}\n`, 0o600);
    made.push(path);
  }
  await syncFolder(join(folder, 'secrets'));
  if (await addKnown(folder, passwords[profile])) made.push(knownPasswords);
  if (profile === 'full') made.push(...(await deriveRedisFiles(folder)));
  return made;
}

// The folder may be anywhere in a checkout, and `git add .` must not take its secrets.
async function keepOutOfGit(folder: string): Promise<string[]> {
  const path = join(folder, '.gitignore');
  if ((await readIfThere(path)) !== undefined) return [];
  await writeNewFile(path, '*\n', 0o600);
  return ['.gitignore'];
}

/**
 * Refuses a folder that has lost a password: a new one does not open what PostgreSQL and Grafana have stored. A password
 * that only a newer version needs is not lost.
 * @param ifNotListed the passwords that the stack must have if its folder has no list of them
 * @throws CannotStart that names every lost password
 */
export async function refuseLostPasswords(folder: string, ifNotListed: readonly string[]): Promise<void> {
  const paths = ((await readKnown(folder)) ?? ifNotListed).map((name) => `secrets/${name}`);
  const found = await Promise.all(paths.map((path) => readIfThere(join(folder, path))));
  const lost = paths.filter((_path, index) => found[index] === undefined);
  if (lost.length === 0) return;
  throw new CannotStart(
    `the folder of the stack has lost ${lost.join(', ')}, and a new password does not open what the old one does: put back what is lost, from your copy of the folder or from the volumes of Docker (docs/backup-restore.md); nothing was made`,
  );
}

async function readKnown(folder: string): Promise<string[] | undefined> {
  const text = await readIfThere(join(folder, knownPasswords));
  return text?.split('\n').filter((line) => line !== '');
}

async function addKnown(folder: string, names: readonly string[]): Promise<boolean> {
  const known = (await readKnown(folder)) ?? [];
  const all = [...new Set([...known, ...names])];
  if (all.length === known.length) return false;
  await replaceFile(join(folder, knownPasswords), all.map((name) => `${name}\n`).join(''), 0o600);
  return true;
}

// Redis reads hashes of passwords from its file of users, and its exporter reads passwords from a file of JSON.
async function deriveRedisFiles(folder: string): Promise<string[]> {
  const read = async (name: string) => ((await readIfThere(join(folder, 'secrets', name))) ?? '').trim();
  const [cardea, exporter] = [await read('redis-cardea'), await read('redis-exporter')];
  const files = {
    'redis-users.acl': `${(await redisUsers({ cardea, exporter })).join('\n')}\n`,
    // Versions of the exporter differ in whether they look for the address with the name of the user.
    'redis-exporter.json': `${JSON.stringify({ 'rediss://redis:6379': exporter, 'rediss://exporter@redis:6379': exporter })}\n`,
  };
  const made = [];
  for (const [name, content] of Object.entries(files)) {
    if ((await readIfThere(join(folder, name))) === content) continue;
    await replaceFile(join(folder, name), content, 0o600);
    made.push(name);
  }
  return made;
}

/** 192 random bits in base64url, which needs no quotes in a URL, a shell or SQL. */
function randomPassword(): string {
  return Buffer.from(crypto.getRandomValues(new Uint8Array(24))).toString('base64url');
}
