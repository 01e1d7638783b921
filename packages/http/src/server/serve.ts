import { createServer } from 'node:http';
import type { RequestListener, Server, ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { StartError } from '@cardea/process/config';
import { mtlsServerOptions, renewServerCertificates } from '../mtls.ts';
import type { TlsIdentity } from '../mtls.ts';

/** A server that listens. */
export interface Listening {
  url: string;
  port: number;
  /** Takes no new connection, lets requests under way end, and cuts what is left after `deadlineMs`. */
  drain(deadlineMs: number): Promise<void>;
}

export interface ListenOptions {
  host: string;
  port: number;
  /** The variable that sets the port, for the message when it is taken. */
  variable: string;
  /** With it the server speaks mutual TLS, otherwise plain HTTP. */
  identity?: TlsIdentity;
}

// Node's own limit for the header is 16 KiB; ours is on purpose the same, stated here.
const httpOptions = {
  maxHeaderSize: 16 * 1024,
  requestTimeout: 30_000,
  headersTimeout: 10_000,
  keepAliveTimeout: 65_000,
  // Node would refuse it by itself, without a record.
  requireHostHeader: false,
};

/** @throws StartError if the port is taken or may not be used. */
export async function listen(
  listener: RequestListener,
  options: ListenOptions,
): Promise<Listening & { server: Server }> {
  const { identity, host, port } = options;
  const server = identity
    ? createTlsServer({ ...httpOptions, handshakeTimeout: 10_000, ...mtlsServerOptions(identity) }, listener)
    : createServer(httpOptions, listener);
  // An expectation nobody knows may be ignored (RFC 9110 section 10.1.1); Node would refuse it by itself, without a record.
  server.on('checkExpectation', listener);
  const unfinished = unfinishedAnswers(server);
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(explain(error, options)));
    server.listen({ host, port }, resolve);
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

function unfinishedAnswers(server: Server): ReadonlySet<ServerResponse> {
  const unfinished = new Set<ServerResponse>();
  server.prependListener('request', (_req, res) => {
    unfinished.add(res);
    res.once('close', () => unfinished.delete(res));
  });
  return unfinished;
}

async function drain(server: Server, unfinished: ReadonlySet<ServerResponse>, deadlineMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  // Answers that are still to come tell a kept-alive client to go, as its next request would meet a closed connection.
  for (const res of unfinished) if (!res.headersSent) res.setHeader('Connection', 'close');
  server.keepAliveTimeout = 1;
  const idle = setInterval(() => server.closeIdleConnections(), 50);
  const deadline = setTimeout(() => server.closeAllConnections(), deadlineMs);
  server.closeIdleConnections();
  await closed;
  clearInterval(idle);
  clearTimeout(deadline);
}
