import { checkServerIdentity } from 'node:tls';
import type { ConnectionOptions } from 'node:tls';
import type { PoolConfig } from 'pg';

/** A database of PostgreSQL, and how to log in to it. */
export interface PostgresServer {
  url: string;
  /** Takes the place of a password in the URL. */
  password?: string | undefined;
  /** The certificates (PEM) that may have signed that of the server. With them the connection is TLS. */
  ca?: string | undefined;
  /** At most this many connections are open. The default is 20. */
  connections?: number | undefined;
}

/** The part of pg's options that says where the server is. */
export function connectionTo({ url, password, ca }: PostgresServer): Pick<PoolConfig, 'connectionString' | 'ssl'> {
  // pg prefers what is in the URL to its other options, even an empty password.
  const target = new URL(url);
  if (password !== undefined) target.password = encodeURIComponent(password);
  return { connectionString: target.href, ...(ca === undefined ? {} : { ssl: verified(ca, target.hostname) }) };
}

/** The same as `sslmode=verify-full` of libpq: the CA must have signed the certificate, and it must name the host. */
function verified(ca: string, hostname: string): ConnectionOptions {
  const host = hostname.replace(/^\[|\]$/g, '');
  // Without this, Node would compare the certificate with "localhost" if the URL has an address instead of a name.
  return { ca, checkServerIdentity: (_name, certificate) => checkServerIdentity(host, certificate) };
}
