// Only packages/crypto uses node:crypto, with this exception: the supervisor runs this code every hour and must stay
// small. Node's own X.509 reader costs it nothing, and a certificate library would stay in its memory.
import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';

import { withCause } from '@cardea/process/cause';
import { isPrivate } from '@cardea/process/private-mode';

import { CannotStart, errorCode } from './cannot-start.ts';

/** Every name that gets a certificate. The certificate's SAN holds it as `spiffe://cardea/<name>`. */
export const certificateNames = ['kek-service', 'audit-service', 'api-service', 'worker', 'operator'] as const;

export const DAY_MS = 86_400_000;
const renewBelowMs = 30 * DAY_MS;

export interface CertificateOptions {
  /**
   * DNS names in addition to `localhost`, by certificate name. In a compose network a service has another host name.
   */
  extraDnsNames?: Record<string, string[]>;
  /**
   * The hosts (DNS names and IP addresses) of servers that are no services, by certificate name. Their certificates last
   * for 824 days, because such a server reads a new one only when it is told to. Apple's systems accept up to 825 days.
   */
  servers?: Record<string, string[]>;
}

/** What a leaf is for. */
export interface LeafPlan {
  name: string;
  days: number;
  dnsNames: string[];
  ipAddresses: string[];
  /** True for a service, which is also a client of other services. */
  isClient: boolean;
}

const serviceDays = 90;
const serverDays = 824;

export interface CertificatesDue {
  /** True if the CA's certificate is missing. Then every existing leaf is in `renew`, because a new CA must issue it. */
  ca: boolean;
  /** Leaves whose certificate or key is missing. */
  make: string[];
  /** Leaves that exist but have less than 30 days left, or do not match this CA and these options. */
  renew: string[];
}

/**
 * Returns which certificates in `folder` are missing or due for renewal at `now`. Writes nothing.
 *
 * @throws CannotStart if a file is damaged, if others can read a key, if the CA's certificate exists without its key, or if the CA is expired or
 * not yet valid at `now`.
 */
export function certificatesDue(folder: string, now: Date, options: CertificateOptions = {}): CertificatesDue {
  const ca = readCa(folder, now);
  const due: CertificatesDue = { ca: ca === undefined, make: [], renew: [] };
  for (const plan of leafPlans(options)) {
    const state = leafState(folder, plan, { ca, now });
    if (state !== 'good') due[state].push(plan.name);
  }
  return due;
}

/** True if there is a certificate to make or renew. */
export function isAnythingDue(due: CertificatesDue): boolean {
  return due.ca || due.make.length > 0 || due.renew.length > 0;
}

/** Returns every leaf: one for each service and for each server of `options`. */
export function leafPlans(options: CertificateOptions): LeafPlan[] {
  const services = certificateNames.map((name) => ({
    name,
    days: serviceDays,
    isClient: true,
    ...sortHosts(['localhost', '127.0.0.1', ...(options.extraDnsNames?.[name] ?? [])]),
  }));
  const servers = Object.entries(options.servers ?? {}).map(([name, hosts]) => ({
    name,
    days: serverDays,
    isClient: false,
    ...sortHosts(hosts),
  }));
  return [...services, ...servers];
}

function sortHosts(hosts: string[]): { dnsNames: string[]; ipAddresses: string[] } {
  const all = [...new Set(hosts)];
  return {
    dnsNames: all.filter((host) => isIP(host) === 0),
    ipAddresses: all.filter((host) => isIP(host) !== 0),
  };
}

function readCa(folder: string, now: Date): X509Certificate | undefined {
  const ca = readCertificate(folder, 'ca');
  const key = readKey(folder, 'ca');
  if (!ca) return undefined;
  if (!key) {
    throw new CannotStart(`${join(folder, 'ca.key')} is missing but ca.pem exists: ${putBackOrDelete(folder)}`);
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
        `(${ca.validFromDate.toISOString()}): set the clock, or, if it is right and was ahead before, delete the folder ` +
        `${folder} and start Cardea again to make new ones`,
    );
  }
  if (now > ca.validToDate) {
    throw new CannotStart(
      `the clock of this machine says ${now.toISOString()}, and the certificates expired at ` +
        `${ca.validToDate.toISOString()}: set the clock, or, if it is right, delete the folder ${folder} and start ` +
        'Cardea again to make new ones',
    );
  }
}

interface Wanted {
  ca: X509Certificate | undefined;
  now: Date;
}

function leafState(folder: string, plan: LeafPlan, { ca, now }: Wanted): 'good' | 'make' | 'renew' {
  const leaf = readCertificate(folder, plan.name);
  const key = readKey(folder, plan.name);
  if (!leaf || !key) return 'make';

  // A crash after a CA or a key was written and before the leaf was written leaves a leaf that no longer matches.
  if (!ca || !leaf.checkIssued(ca) || !leaf.verify(ca.publicKey) || !leaf.checkPrivateKey(key)) return 'renew';

  const names = leaf.subjectAltName?.split(', ') ?? [];
  if (!plan.dnsNames.every((dnsName) => names.includes(`DNS:${dnsName}`))) return 'renew';
  if (!plan.ipAddresses.every((address) => leaf.checkIP(address) !== undefined)) return 'renew';

  // A leaf that is not valid yet was made while the clock was ahead.
  if (leaf.validFromDate > now) return 'renew';
  const isShort = leaf.validToDate.getTime() - now.getTime() < renewBelowMs;
  // A leaf never outlives its CA, so in the CA's last month a new leaf would expire at the same time as this one.
  return isShort && leaf.validToDate < ca.validToDate ? 'renew' : 'good';
}

function readCertificate(folder: string, name: string): X509Certificate | undefined {
  return readPem(folder, `${name}.pem`, (pem) => new X509Certificate(pem));
}

function readKey(folder: string, name: string): KeyObject | undefined {
  const path = join(folder, `${name}.key`);
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats && !isPrivate(stats)) {
    throw new CannotStart(`the key ${path} can be read by other users of this machine: run chmod 400 ${path}`);
  }
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
    throw new CannotStart(withCause(`${path} cannot be read`, error), {
      cause: error,
    });
  }
}

function putBackOrDelete(folder: string): string {
  return `put it back from a backup, or delete the folder ${folder} and start Cardea again to make new certificates`;
}
