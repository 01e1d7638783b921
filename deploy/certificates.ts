// @peculiar/x509 uses decorator metadata and throws if this polyfill is not loaded first.
import 'reflect-metadata';

import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

import * as x509 from '@peculiar/x509';

import { replaceFile } from '@cardea/process/durable-file';
import { certificatesDue, DAY_MS, isAnythingDue, leafPlans } from './certificates-due.ts';
import type { CertificateOptions, LeafPlan } from './certificates-due.ts';
import { errorCode } from './cannot-start.ts';

const algorithm = { name: 'ECDSA', namedCurve: 'P-256' };
const signing = { name: 'ECDSA', hash: 'SHA-256' };
const MINUTE_MS = 60_000;
const caDays = 3652;
// The clocks of two machines differ, and a certificate that was just made must be valid on both.
const backdateMs = 5 * MINUTE_MS;

/**
 * Makes the missing certificates in `folder` (a CA for 10 years, a leaf for each service for 90 days; ECDSA P-256, RFC
 * 5280; a leaf for each other server for 824 days) and renews leaves with less than 30 days left. Renewal keeps the CA. Resolves with the names made and renewed
 * once the files are durable.
 *
 * A renewed leaf keeps its key. A certificate and a key cannot be replaced in one step: with a new key, a service could
 * read a pair that does not match, and a crash could leave one.
 *
 * @throws CannotStart if a file is damaged, if the CA's certificate exists without its key, or if the CA is expired or
 * not yet valid at `now`.
 */
export async function ensureCertificates(
  folder: string,
  now: Date,
  options: CertificateOptions = {},
): Promise<{ made: string[]; renewed: string[] }> {
  const due = certificatesDue(folder, now, options);
  if (!isAnythingDue(due)) return { made: [], renewed: [] };

  await mkdir(folder, { recursive: true, mode: 0o700 });
  if (due.ca) await makeCa(folder, now);
  const ca = await readCa(folder);
  for (const plan of leafPlans(options)) {
    if (due.make.includes(plan.name) || due.renew.includes(plan.name)) await makeLeaf({ folder, ca, now }, plan);
  }
  return { made: due.ca ? ['ca', ...due.make] : due.make, renewed: due.renew };
}

async function makeCa(folder: string, now: Date): Promise<void> {
  const keys = await readOrMakeKeys(join(folder, 'ca.key'));
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: randomSerial(),
    // In an operator's certificate store the name tells the CAs of two installations apart.
    name: [{ CN: [`Cardea private CA ${randomSerial().slice(0, 8)}`] }],
    notBefore: new Date(now.getTime() - backdateMs),
    notAfter: new Date(now.getTime() + caDays * DAY_MS),
    keys,
    signingAlgorithm: signing,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  await replaceFile(join(folder, 'ca.pem'), pemFile(certificate), 0o644);
}

interface KeyPair {
  privateKey: CryptoKey;
  publicKey: CryptoKey;
}

interface Ca {
  certificate: x509.X509Certificate;
  privateKey: CryptoKey;
}

async function readCa(folder: string): Promise<Ca> {
  const certificate = new x509.X509Certificate(await readFile(join(folder, 'ca.pem'), 'utf8'));
  const { privateKey } = await parseKeys(await readFile(join(folder, 'ca.key'), 'utf8'));
  return { certificate, privateKey };
}

async function makeLeaf(from: { folder: string; ca: Ca; now: Date }, plan: LeafPlan): Promise<void> {
  const { folder, ca, now } = from;
  const { name } = plan;
  const keys = await readOrMakeKeys(join(folder, `${name}.key`));
  const wantedExpiryMs = now.getTime() + plan.days * DAY_MS;
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: randomSerial(),
    subject: [{ CN: [name] }],
    issuer: ca.certificate.subjectName,
    notBefore: new Date(now.getTime() - backdateMs),
    notAfter: new Date(Math.min(wantedExpiryMs, ca.certificate.notAfter.getTime())),
    publicKey: keys.publicKey,
    signingKey: ca.privateKey,
    signingAlgorithm: signing,
    extensions: await leafExtensions(plan, { publicKey: keys.publicKey, ca }),
  });
  await replaceFile(join(folder, `${name}.pem`), pemFile(certificate), 0o644);
}

async function leafExtensions(plan: LeafPlan, keys: { publicKey: CryptoKey; ca: Ca }) {
  const { serverAuth, clientAuth } = x509.ExtendedKeyUsage;
  return [
    new x509.BasicConstraintsExtension(false, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
    // A service can be server and client: kek-service answers api-service and calls audit-service.
    new x509.ExtendedKeyUsageExtension(plan.isClient ? [serverAuth, clientAuth] : [serverAuth]),
    new x509.SubjectAlternativeNameExtension([
      ...(plan.isClient ? [{ type: 'url' as const, value: `spiffe://cardea/${plan.name}` }] : []),
      ...plan.dnsNames.map((value) => ({ type: 'dns' as const, value })),
      ...plan.ipAddresses.map((value) => ({ type: 'ip' as const, value })),
    ]),
    await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    await x509.AuthorityKeyIdentifierExtension.create(await keys.ca.certificate.publicKey.export()),
  ];
}

// The key is written before the certificate that needs it. After a crash in between, the next run finds the key.
async function readOrMakeKeys(path: string): Promise<KeyPair> {
  try {
    return await parseKeys(await readFile(path, 'utf8'));
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
  }
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const pkcs8 = await crypto.subtle.exportKey('pkcs8', keys.privateKey);
  await replaceFile(path, `${x509.PemConverter.encode(pkcs8, 'PRIVATE KEY')}\n`, 0o600);
  return keys;
}

// WebCrypto cannot derive the public key from a private key, but the JWK of the private key contains it.
async function parseKeys(pem: string): Promise<KeyPair> {
  const privateKey = await crypto.subtle.importKey('pkcs8', x509.PemConverter.decodeFirst(pem), algorithm, true, [
    'sign',
  ]);
  const publicJwk = { ...(await crypto.subtle.exportKey('jwk', privateKey)), key_ops: ['verify'] };
  delete publicJwk.d;
  const publicKey = await crypto.subtle.importKey('jwk', publicJwk, algorithm, true, ['verify']);
  return { privateKey, publicKey };
}

/**
 * Returns 128 bits in hex. The first two bits are 01 and the others are random: in DER a leading 1 is a minus sign, and
 * leading zeros are cut off.
 */
function randomSerial(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return Buffer.from(bytes).toString('hex');
}

function pemFile(certificate: x509.X509Certificate): string {
  return `${certificate.toString('pem')}\n`;
}
