import type { IncomingMessage } from 'node:http';
import { AppError } from '@cardea/contracts/errors';
import type { RequestHandler } from 'express';

// What is left after `canonicalPath` has decoded: no name holds another character that needs percent-encoding, and a
// further spelling would bypass a program that compares paths, such as a proxy (docs/decisions/006).
export const refuseOddRequests: RequestHandler = (req, _res, next) => {
  const oddity = oddityOf(req);
  if (oddity) throw oddity;
  if (isOddPath(req.path) || req.url.includes('#')) {
    const message =
      'the target must be a path, or a URL with a host; the path must not hold //, \\, # or a % except in %2F and %3A';
    throw new AppError('invalid_request', message, { suspicious: 'odd_path' });
  }
  next();
};

/** Why a request is refused by its header, whatever it asks for. Node's parser is more lenient than the RFCs. */
export function oddityOf({ headers, httpVersion, rawHeaders }: IncomingMessage): AppError | undefined {
  if (httpVersion !== '1.1' && httpVersion !== '1.0') {
    return broken('this server speaks HTTP/1.1 and HTTP/1.0', 505);
  }
  if (!hasOneHost(headers.host, httpVersion, rawHeaders)) {
    return new AppError('invalid_request', 'there must be one valid Host header', { suspicious: 'no_host' });
  }
  const coding = headers['transfer-encoding'];
  if (coding === undefined) return undefined;
  // Who spoke HTTP/1.0 did not know the field, so the length of the body is in doubt (RFC 9112 section 6.1).
  if (httpVersion === '1.0') return broken('HTTP/1.0 has no Transfer-Encoding', 400);
  // Node reads a body in `gzip, chunked` as if gzip did not stand there (the same section).
  return coding.toLowerCase() === 'chunked' ? undefined : broken('the only transfer coding is chunked', 501);
}

function broken(message: string, status: number): AppError {
  return new AppError('invalid_request', message, { status, suspicious: 'broken_request' });
}

// RFC 3986 section 3.2.2 and 3.2.3.
const HOST = /^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::\d*)?$/;

// HTTP/1.1 wants exactly one valid Host (RFC 9112 section 3.2). Node takes the first of several, a proxy maybe the last.
function hasOneHost(host: string | undefined, httpVersion: string, rawHeaders: string[]): boolean {
  if (host === undefined) return httpVersion === '1.0';
  return timesSent(rawHeaders, 'host') === 1 && HOST.test(host);
}

// Stands for a target that is refused as odd. Express would answer one that it cannot parse by itself, without a record.
const ODD_TARGET = '/%';
const ABSOLUTE = /^https?:\/\/(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?(?<path>\/[^]*|\?[^]*)?$/i;

/**
 * The target of a request in origin form, with its path in its one spelling. A target in absolute form must be accepted
 * (RFC 9112 section 3.2.2): its path is what counts, as it was sent. A parser of URLs would change it: one takes a
 * backslash for a slash.
 */
export function originForm(target: string): string {
  if (target === '*') return target;
  const absolute = target.startsWith('/') ? undefined : ABSOLUTE.exec(target);
  if (absolute === null) return ODD_TARGET;
  const sent = absolute ? (absolute.groups!['path'] ?? '/') : target;
  const mark = sent.indexOf('?');
  const path = canonicalPath(mark < 0 ? sent : sent.slice(0, mark));
  return `${path.startsWith('/') ? '' : '/'}${path}${mark < 0 ? '' : sent.slice(mark)}`;
}

/**
 * The one spelling of a path (without a query). Clients that are generated from an OpenAPI document send a slash in a name
 * as %2F and a colon as %3A. Both are decoded, once, before anything looks at the path. A `%` that is left makes it odd.
 */
export function canonicalPath(sent: string): string {
  return sent.includes('%') ? sent.replace(/%2f/gi, '/').replace(/%3a/gi, ':') : sent;
}

/** Counts how often a field (in lower case) was sent. Node shows only the first of some fields and joins others. */
export function timesSent(rawHeaders: string[], field: string): number {
  let times = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!;
    if (name.length === field.length && name.toLowerCase() === field) times += 1;
  }
  return times;
}

export function isOddPath(path: string): boolean {
  return /[%\\]|\/\//.test(path);
}
