import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { IncomingMessage } from 'node:http';
import type { Server } from 'node:https';
import type { ServerOptions } from 'node:https';
import type { PeerCertificate, TLSSocket } from 'node:tls';
import { StartError } from '@cardea/process/config';

export type ServiceName = 'api-service' | 'kek-service' | 'audit-service' | 'worker' | 'operator';

/** A service's certificate and what it trusts, PEM. */
export interface TlsFiles {
  ca: string;
  cert: string;
  key: string;
}

/** The certificates of one service, read again when they are renewed. */
export interface TlsIdentity {
  name: ServiceName;
  current(): TlsFiles;
}

const MINUTE_MS = 60_000;

/**
 * Reads `<name>.pem`, `<name>.key` and `ca.pem` from `folder`, and again once a minute if the certificate changed.
 * While they cannot be read, what was read last goes on serving.
 * @throws StartError if they cannot be read now
 */
export function readTlsIdentity(folder: string, name: ServiceName): TlsIdentity {
  const certPath = join(folder, `${name}.pem`);
  let files = readFiles(folder, name);
  let readAt = Date.now();
  let modified = modifiedAt(certPath);
  return {
    name,
    current() {
      if (Date.now() - readAt < MINUTE_MS) return files;
      readAt = Date.now();
      const now = modifiedAt(certPath);
      if (now === undefined || now === modified) return files;
      try {
        files = readFiles(folder, name);
        modified = now;
      } catch (error) {
        // Half of a renewal: the other half is there at the next look.
        if (!(error instanceof StartError)) throw error;
      }
      return files;
    },
  };
}

function modifiedAt(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs;
}

function readFiles(folder: string, name: ServiceName): TlsFiles {
  const read = (file: string) => readFileSync(join(folder, file), 'utf8');
  try {
    return { ca: read('ca.pem'), cert: read(`${name}.pem`), key: read(`${name}.key`) };
  } catch (cause) {
    throw new StartError(
      `The certificate of ${name} cannot be read in ${folder}: start Cardea by its start command, which makes the certificates.`,
      { cause },
    );
  }
}

/** Options of a server that speaks TLS 1.3 only, and only with holders of a certificate of our CA. */
export function mtlsServerOptions(identity: TlsIdentity): ServerOptions {
  return { ...identity.current(), requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.3' };
}

/** Has a running server use renewed certificates for new connections. */
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
 * mistaken for two (CVE-2021-44532); none of ours needs quoting, so a text with a quote names nobody.
 */
export function serviceNameOf(certificate: Partial<PeerCertificate> | null): string | undefined {
  // A socket that is closed has none, whatever its type says.
  const text = certificate?.subjectaltname ?? '';
  if (text.includes('"')) return undefined;
  const names = text
    .split(', ')
    .filter((part) => part.startsWith('URI:spiffe://cardea/'))
    .map((part) => part.slice('URI:spiffe://cardea/'.length));
  return names.length === 1 ? names[0] : undefined;
}
