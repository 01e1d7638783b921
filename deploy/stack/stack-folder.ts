import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';

import { readIfThere, replaceFile, syncFolder, writeNewFile } from '@cardea/process/durable-file';
import { ensureCertificates } from '../certificates.ts';
import { passwords, stackCertificates } from './stack-files.ts';
import type { Profile } from './stack-files.ts';

/** What the files of a stack depend on. */
export interface StackSettings {
  profile: Profile;
  /** The names and addresses under which people reach nginx. */
  hosts: string[];
}

/**
 * Makes everything in the stack's folder that is missing: certificates, passwords, and the files that programs need them
 * in. A password that is there is never changed. Only the owner can read the folder. Resolves with what was made, once it
 * is durable.
 *
 * @throws CannotStart if the certificates in the folder are damaged.
 */
export async function ensureStackFolder(folder: string, settings: StackSettings, now: Date): Promise<string[]> {
  await mkdir(join(folder, 'secrets'), { recursive: true, mode: 0o700 });
  // certbot writes there, and nginx reads.
  await mkdir(join(folder, 'acme'), { recursive: true });
  await chmod(join(folder, 'acme'), 0o755);
  const { profile, hosts } = settings;
  const certificates = await ensureCertificates(join(folder, 'tls'), now, stackCertificates(profile, hosts));
  const made = [...certificates.made, ...certificates.renewed].map((name) => `tls/${name}.pem`);
  for (const name of passwords[profile]) {
    const path = `secrets/${name}`;
    if ((await readIfThere(join(folder, path))) !== undefined) continue;
    await writeNewFile(join(folder, path), `${randomPassword()}\n`, 0o600);
    made.push(path);
  }
  await syncFolder(join(folder, 'secrets'));
  if (profile === 'full') made.push(...(await deriveRedisFiles(folder)));
  return made;
}

// Redis reads hashes of passwords from its file of users, and its exporter reads passwords from a file of JSON.
async function deriveRedisFiles(folder: string): Promise<string[]> {
  const read = async (name: string) => ((await readIfThere(join(folder, 'secrets', name))) ?? '').trim();
  const [cardea, exporter] = [await read('redis-cardea'), await read('redis-exporter')];
  const files = {
    'redis-users.acl': [
      // Nobody can log in as it. But Redis reads its own file of appended commands with the rights of this user, and with none
      // it drops every transaction when it starts.
      'user default off ~* &* +@all',
      // Not the commands that stop Redis, load code into it or change its settings and its users.
      `user cardea on #${await sha256(cardea)} ~* &* +@all -@admin -@dangerous +info`,
      `user exporter on #${await sha256(exporter)} +ping +info +client|setname +config|get +slowlog|len +slowlog|get +latency|latest +latency|histogram`,
      '',
    ].join('\n'),
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

async function sha256(text: string): Promise<string> {
  return Buffer.from(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text))).toString('hex');
}
