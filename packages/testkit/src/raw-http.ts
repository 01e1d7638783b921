import { connect } from 'node:net';

/** A request exactly as it is sent: nothing is corrected, which a client library would do. */
export interface RawRequest {
  method?: string;
  /** The text after the method: usually a path, never normalised. */
  target: string;
  /** Headers in addition to Host, Connection and Content-Length. They replace these, and `undefined` omits one. */
  headers?: Record<string, string | undefined>;
  body?: string | Uint8Array;
}

/** An answer exactly as it was received. Header names are in lower case. */
export interface RawAnswer {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/** Sends one request on a new connection. @throws Error if the connection ends without an answer */
export function sendRequest(url: string, request: RawRequest): Promise<RawAnswer> {
  return sendBytes(url, toBytes(request));
}

/** The bytes of a request. */
export function toBytes({ method = 'GET', target, headers = {}, body = '' }: RawRequest): Uint8Array {
  const bytes = Buffer.from(body);
  const all: Record<string, string | undefined> = {
    Host: 'cardea.test',
    Connection: 'close',
    ...(bytes.length > 0 ? { 'Content-Length': String(bytes.length) } : {}),
    ...headers,
  };
  const lines = Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : [`${name}: ${value}\r\n`]));
  return Buffer.concat([Buffer.from(`${method} ${target} HTTP/1.1\r\n${lines.join('')}\r\n`), bytes]);
}

/** Sends bytes on a new connection and reads until the server closes it. @throws Error if no answer came */
export async function sendBytes(url: string, bytes: string | Uint8Array): Promise<RawAnswer> {
  const { hostname, port } = new URL(url);
  const received: Buffer[] = [];
  const socket = connect(Number(port), hostname);
  const closed = new Promise<void>((resolve, reject) => {
    socket.on('data', (chunk: Buffer) => received.push(chunk));
    socket.on('close', () => resolve());
    // A server that refuses a request before its end may reset the connection after its answer.
    socket.on('error', (error) => (received.length > 0 ? resolve() : reject(error)));
  });
  socket.write(bytes);
  await closed;
  return parseAnswer(Buffer.concat(received).toString('utf8'));
}

/** @throws Error if this is not an answer */
export function parseAnswer(text: string): RawAnswer {
  const end = text.indexOf('\r\n\r\n');
  const [first = '', ...lines] = text.slice(0, end).split('\r\n');
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(first)?.[1]);
  if (end < 0 || Number.isNaN(status)) throw new Error(`not an answer: ${JSON.stringify(text.slice(0, 80))}`);
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const colon = line.indexOf(':');
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    headers[name] = name in headers ? `${headers[name]}, ${value}` : value;
  }
  return { status, headers, body: text.slice(end + 4) };
}
