// Only packages/crypto touches node:crypto, except here: the supervisor asks this every hour and must stay small, and
// Node's own X.509 reader costs it nothing, where a certificate library would stay in its memory for good.
import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { CannotStart, errorCode } from './cannot-start.ts';

/** Everyone who gets a certificate of their own; the name is in its SAN as `spiffe://cardea/<name>`. */
export const certificateNames = ['kek-service', 'audit-service', 'api-service', 'worker', 'operator'] as const;

export const dayMs = 86_400_000;
const renewBelowMs = 30 * dayMs;

export interface CertificateOptions {
  /** DNS names beside `localhost`, by certificate name: in a compose network a service is reached by another name. */
  extraDnsNames?: Record<string, string[]>;
}

export interface CertificatesDue {
  /** The CA's certificate is missing; then no leaf of an earlier CA is worth keeping and all are in `renew`. */
  ca: boolean;
  /** Leaves of which there is no certificate, or no key. */
  make: string[];
  /** Leaves that are there and have less than 30 days left, or are not what this CA and these options would give. */
  renew: string[];
}

/**
 * Says which certificates in `folder` are missing or due for renewal at `now`. Only reads.
 *
 * @throws CannotStart if a file is damaged, if the CA's key is missing beside its certificate, or if the CA is expired
 * or not yet valid at `now`.
 */
export function certificatesDue(folder: string, now: Date, options: CertificateOptions = {}): CertificatesDue {
  const ca = readCa(folder, now);
  const due: CertificatesDue = { ca: ca === undefined, make: [], renew: [] };
  for (const name of certificateNames) {
    const state = leafState(folder, name, { ca, now, dnsNames: dnsNamesOf(name, options) });
    if (state !== 'good') due[state].push(name);
  }
  return due;
}

/** True when there is something to make or renew. */
export function isAnythingDue(due: CertificatesDue): boolean {
  return due.ca || due.make.length > 0 || due.renew.length > 0;
}

/** The DNS names the certificate of `name` carries. */
export function dnsNamesOf(name: string, options: CertificateOptions): string[] {
  return [...new Set(['localhost', ...(options.extraDnsNames?.[name] ?? [])])];
}

function readCa(folder: string, now: Date): X509Certificate | undefined {
  const ca = readCertificate(folder, 'ca');
  const key = readKey(folder, 'ca');
  if (!ca) return undefined;
  if (!key) {
    throw new CannotStart(`${join(folder, 'ca.key')} is missing while ca.pem is there: ${putBackOrDelete(folder)}`);
  }
  if (!ca.checkPrivateKey(key)) {
    throw new CannotStart(`ca.key and ca.pem in ${folder} do not belong together: ${putBackOrDelete(folder)}`);
  }
  refuseWrongTime(folder, ca, now);
  return ca;
}

function refuseWrongTime(folder: string, ca: X509Certificate, now: Date): void {
  if (now < ca.validFromDate) {
    throw new CannotStart(
      `the clock of this machine says ${now.toISOString()}, which is before the certificates were made ` +
        `(${ca.validFromDate.toISOString()}): set the clock`,
    );
  }
  if (now > ca.validToDate) {
    throw new CannotStart(
      `the clock of this machine says ${now.toISOString()}, and the certificates ended at ` +
        `${ca.validToDate.toISOString()}: if the clock is right, delete the folder ${folder} to have them made anew`,
    );
  }
}

interface Wanted {
  ca: X509Certificate | undefined;
  now: Date;
  dnsNames: string[];
}

function leafState(folder: string, name: string, wanted: Wanted): 'good' | 'make' | 'renew' {
  const leaf = readCertificate(folder, name);
  const key = readKey(folder, name);
  if (!leaf || !key) return 'make';

  const { ca, now, dnsNames } = wanted;
  // A crash between writing a CA or a key and writing the leaf leaves a leaf that no longer fits: it is issued again.
  if (!ca || !leaf.checkIssued(ca) || !leaf.verify(ca.publicKey) || !leaf.checkPrivateKey(key)) return 'renew';

  const names = leaf.subjectAltName?.split(', ') ?? [];
  if (!dnsNames.every((dnsName) => names.includes(`DNS:${dnsName}`))) return 'renew';

  // A leaf from the future was made while the clock was ahead.
  if (leaf.validFromDate > now) return 'renew';
  const isShort = leaf.validToDate.getTime() - now.getTime() < renewBelowMs;
  // A leaf never outlives its CA, so in the CA's last month a new one would be no longer than the one that is there.
  return isShort && leaf.validToDate < ca.validToDate ? 'renew' : 'good';
}

function readCertificate(folder: string, name: string): X509Certificate | undefined {
  return readPem(folder, `${name}.pem`, (pem) => new X509Certificate(pem));
}

function readKey(folder: string, name: string): KeyObject | undefined {
  return readPem(folder, `${name}.key`, parseKey);
}

function parseKey(pem: string): KeyObject {
  const key = createPrivateKey(pem);
  const curve = key.asymmetricKeyDetails?.namedCurve;
  if (curve !== 'prime256v1') throw new Error(`not a P-256 key but ${curve ?? key.asymmetricKeyType}`);
  return key;
}

function readPem<T>(folder: string, file: string, parse: (pem: string) => T): T | undefined {
  const path = join(folder, file);
  const pem = readIfThere(path);
  if (pem === undefined) return undefined;
  try {
    return parse(pem);
  } catch (error) {
    throw new CannotStart(`${path} is damaged: ${putBackOrDelete(folder)}`, { cause: error });
  }
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw new CannotStart(`${path} cannot be read (${errorCode(error)}): give it back to the user Cardea runs as`, {
      cause: error,
    });
  }
}

function putBackOrDelete(folder: string): string {
  return `put it back from a backup, or delete the folder ${folder} to have all certificates made anew`;
}
