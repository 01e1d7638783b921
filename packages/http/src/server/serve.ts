import { createServer } from 'node:http';
import type { RequestListener, Server, ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { StartError } from '@cardea/process/config';
import { inOrder } from './in-order.ts';
import { mtlsServerOptions, renewServerCertificates } from '../mtls.ts';
import type { TlsIdentity } from '../mtls.ts';

/** A server that listens. */
export interface Listening {
  url: string;
  port: number;
  /** Accepts no new connection, lets running requests finish, and closes the remaining ones after `deadlineMs`. */
  drain(deadlineMs: number): Promise<void>;
}

export interface ListenOptions {
  host: string;
  port: number;
  /** The variable that sets the port. The error message names it if the port is in use. */
  variable: string;
  /** With an identity the server speaks mutual TLS, without one plain HTTP. */
  identity?: TlsIdentity;
}

/** The most bytes in the header of a request. Node's own limit is the same; it is stated here on purpose. */
export const HEADER_BYTES_MAX = 16 * 1024;

/** The most fields in the header of a request. Node has no setting for it. */
export const HEADER_FIELDS_MAX = 1_000;

/** How long a request may take to arrive, with its body. */
const REQUEST_MS_MAX = 30_000;

const httpOptions = {
  maxHeaderSize: HEADER_BYTES_MAX,
  requestTimeout: REQUEST_MS_MAX,
  headersTimeout: 10_000,
  // Node looks for late requests so often. With its own 30 s, one could take twice as long as it may.
  connectionsCheckingInterval: 2_000,
  keepAliveTimeout: 65_000,
  // With true, Node itself would refuse a request without a Host header, and nothing would record it.
  requireHostHeader: false,
};

/** Connections that wait to be taken. Of a burst of more, some would be reset; Node's own number is 511. */
const CONNECTIONS_WAITING = 4096;

/** @throws StartError if the port is in use or may not be used. */
export async function listen(
  listener: RequestListener,
  options: ListenOptions,
): Promise<Listening & { server: Server }> {
  const { identity, host, port } = options;
  const server = identity
    ? createTlsServer({ ...httpOptions, handshakeTimeout: 10_000, ...mtlsServerOptions(identity) })
    : createServer(httpOptions);
  const unfinished = listenTo(server, listener);
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(explain(error, options)));
    server.listen({ host, port, backlog: CONNECTIONS_WAITING }, resolve);
  });
  if (identity) renewServerCertificates(server as ReturnType<typeof createTlsServer>, identity);
  const { port: actual } = server.address() as AddressInfo;
  const name = host.includes(':') ? `[${host}]` : host;
  return {
    server,
    port: actual,
    url: `${identity ? 'https' : 'http'}://${name}:${actual}`,
    drain: (deadlineMs) => drain(server, unfinished, deadlineMs),
  };
}

function explain(error: NodeJS.ErrnoException, { host, port, variable }: ListenOptions): Error {
  if (error.code === 'EADDRINUSE') {
    return new StartError(`Port ${port} of ${host} is in use: stop what uses it or set ${variable} to another.`);
  }
  if (error.code === 'EACCES' || error.code === 'EADDRNOTAVAIL') {
    return new StartError(`Port ${port} of ${host} cannot be listened on (${error.code}): set ${variable} to another.`);
  }
  return error;
}

/** Hands every request to `listener`. Returns the answers that are not finished. */
function listenTo(server: Server, listener: RequestListener): ReadonlySet<ServerResponse> {
  const unfinished = new Set<ServerResponse>();
  const answer = inOrder((req, res) => {
    unfinished.add(res);
    res.once('close', () => unfinished.delete(res));
    listener(req, res);
  });
  server.on('request', answer);
  // Without this listener, Node itself would ask for the body, also of a request that its header already refuses.
  // `readBody` asks instead (RFC 9110 section 10.1.1).
  server.on('checkContinue', answer);
  // An unknown expectation may be ignored (the same section). Node itself would refuse it without a record.
  server.on('checkExpectation', answer);
  return unfinished;
}

async function drain(server: Server, unfinished: ReadonlySet<ServerResponse>, deadlineMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  // The remaining answers tell a kept-alive client to close, because its next request would meet a closed connection.
  for (const res of unfinished) if (!res.headersSent) res.setHeader('Connection', 'close');
  server.keepAliveTimeout = 1;
  const idle = setInterval(() => server.closeIdleConnections(), 50);
  const deadline = setTimeout(() => server.closeAllConnections(), deadlineMs);
  server.closeIdleConnections();
  await closed;
  clearInterval(idle);
  clearTimeout(deadline);
}
