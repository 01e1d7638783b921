// Only packages/crypto uses node:crypto. This is the other exception beside certificates-due.ts, for the same reason.
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';

import { withCause } from '@cardea/process/cause';
import { replaceFile } from '@cardea/process/durable-file';
import { CannotStart } from '../cannot-start.ts';

/**
 * Takes the operator's own certificate for nginx, with its chain, into the stack's folder.
 * @throws CannotStart if the key does not belong to it, if it has expired, or if it does not name every host
 */
export async function takeCertificate(
  folder: string,
  files: { certificate: string; key: string },
  wanted: { hosts: string[]; now: Date },
): Promise<void> {
  const [chain, key] = [await read(files.certificate), await read(files.key)];
  check(files, { chain, key }, wanted);
  const proxy = join(folder, 'proxy');
  await mkdir(proxy, { recursive: true, mode: 0o700 });
  // nginx gets the pair of the stack's CA until the certificate is there, so the key comes first.
  await replaceFile(join(proxy, 'certificate.key'), key, 0o600);
  await replaceFile(join(proxy, 'certificate.pem'), chain, 0o600);
}

function check(
  files: { certificate: string; key: string },
  { chain, key }: { chain: string; key: string },
  { hosts, now }: { hosts: string[]; now: Date },
): void {
  const leaf = parse(files.certificate, () => new X509Certificate(chain));
  const privateKey = parse(files.key, () => createPrivateKey(key));
  if (!leaf.checkPrivateKey(privateKey)) throw new CannotStart(`${files.key} is not the key of ${files.certificate}`);
  if (leaf.validToDate < now)
    throw new CannotStart(`${files.certificate} expired at ${leaf.validToDate.toISOString()}`);
  const isNamed = (host: string) => (isIP(host) === 0 ? leaf.checkHost(host) : leaf.checkIP(host)) !== undefined;
  const unnamed = hosts.filter((host) => !isNamed(host));
  if (unnamed.length > 0) throw new CannotStart(`${files.certificate} is not for ${unnamed.join(', ')}`);
}

function parse<T>(path: string, parser: () => T): T {
  try {
    return parser();
  } catch (error) {
    throw new CannotStart(`${path} cannot be read as PEM: ${String(error)}`, { cause: error });
  }
}

async function read(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new CannotStart(withCause(`${path} cannot be read`, error), { cause: error });
  }
}
