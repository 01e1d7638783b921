import { MINUTE_MS } from '@cardea/contracts/durations';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { IncomingMessage } from 'node:http';
import type { Server } from 'node:https';
import type { ServerOptions } from 'node:https';
import type { PeerCertificate, TLSSocket } from 'node:tls';
import { StartError } from '@cardea/process/config';
import { readPrivateFileSync } from '@cardea/process/private-file';

export type ServiceName = 'api-service' | 'kek-service' | 'audit-service' | 'worker' | 'operator';

/** A service's certificate and key, and the CA that it trusts. All are PEM. */
export interface TlsFiles {
  ca: string;
  cert: string;
  key: string;
}

/** The certificates of one service, read again when they are renewed. */
export interface TlsIdentity {
  name: ServiceName;
  current(): TlsFiles;
  /** The certificates in its folder of servers that show none by a metric, by name, as PEM. Empty without Docker. */
  servers(): Record<string, string>;
}

// The stack hands them out to api-service (deploy/stack/stack-files.ts).
const otherServers = ['nginx', 'postgres', 'redis'];

/**
 * Reads `<name>.pem`, `<name>.key` and `ca.pem` from `folder`, and again once a minute if the certificate changed.
 * If a later read fails, the service continues with the files that it read last.
 * @throws StartError if the first read fails
 */
export function readTlsIdentity(folder: string, name: ServiceName): TlsIdentity {
  const certPath = join(folder, `${name}.pem`);
  let files = readFiles(folder, name);
  // Not the time of day: a clock that is set back would delay a renewed certificate.
  let readAt = performance.now();
  let modified = modifiedAt(certPath);
  return {
    name,
    current() {
      if (performance.now() - readAt < MINUTE_MS) return files;
      readAt = performance.now();
      const now = modifiedAt(certPath);
      if (now === undefined || now === modified) return files;
      try {
        files = readFiles(folder, name);
        modified = now;
      } catch (error) {
        // A renewal is only half written. The next check reads it again.
        if (!(error instanceof StartError)) throw error;
      }
      return files;
    },
    servers() {
      const there = otherServers.filter((server) => existsSync(join(folder, `${server}.pem`)));
      return Object.fromEntries(there.map((server) => [server, readFileSync(join(folder, `${server}.pem`), 'utf8')]));
    },
  };
}

function modifiedAt(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs;
}

function readFiles(folder: string, name: ServiceName): TlsFiles {
  const keyPath = join(folder, `${name}.key`);
  const certificates = readCertificates(folder, name);
  return { ...certificates, key: readPrivateFileSync({ path: keyPath, subject: `The key ${keyPath}` }) };
}

function readCertificates(folder: string, name: ServiceName): Pick<TlsFiles, 'ca' | 'cert'> {
  const read = (file: string) => readFileSync(join(folder, file), 'utf8');
  try {
    return { ca: read('ca.pem'), cert: read(`${name}.pem`) };
  } catch (cause) {
    throw new StartError(
      `The certificate of ${name} cannot be read in ${folder}: start Cardea by its start command, which makes the certificates.`,
      { cause },
    );
  }
}

/** Options of a server that speaks only TLS 1.3, and only with peers that hold a certificate of our CA. */
export function mtlsServerOptions(identity: TlsIdentity): ServerOptions {
  return { ...identity.current(), requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.3' };
}

/** Makes a running server use renewed certificates for new connections. */
export function renewServerCertificates(server: Server, identity: TlsIdentity): void {
  let used = identity.current();
  const timer = setInterval(() => {
    const now = identity.current();
    if (now === used) return;
    used = now;
    server.setSecureContext({ ...now, minVersion: 'TLSv1.3' });
  }, MINUTE_MS).unref();
  server.on('close', () => clearInterval(timer));
}

const peerNames = new WeakMap<TLSSocket, string>();

/** The service that holds the certificate of this connection, by its SAN URI; undefined if it names none. */
export function peerName(req: IncomingMessage): string | undefined {
  const socket = req.socket as TLSSocket;
  const known = peerNames.get(socket);
  if (known !== undefined) return known;
  const name = serviceNameOf(socket.getPeerCertificate());
  if (name !== undefined) peerNames.set(socket, name);
  return name;
}

/**
 * The name in the one SAN URI of our trust domain. Node gives all SANs as one text and quotes an entry that could be
 * mistaken for two (CVE-2021-44532). Our names need no quotes, so a text with a quote gives undefined.
 */
export function serviceNameOf(certificate: Partial<PeerCertificate> | null): string | undefined {
  // A closed socket has no certificate, although its type says otherwise.
  const text = certificate?.subjectaltname ?? '';
  if (text.includes('"')) return undefined;
  const names = text
    .split(', ')
    .filter((part) => part.startsWith('URI:spiffe://cardea/'))
    .map((part) => part.slice('URI:spiffe://cardea/'.length));
  return names.length === 1 ? names[0] : undefined;
}
