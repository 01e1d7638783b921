import type { IncomingMessage } from 'node:http';
import { AppError } from '@cardea/contracts/errors';
import type { RequestHandler } from 'express';

// No name holds a character that needs percent-encoding, so one spelling of a path is enough. A second spelling would
// bypass a program that compares paths, such as a proxy.
export const refuseOddRequests: RequestHandler = (req, _res, next) => {
  if (!hasOneHost(req)) {
    throw new AppError('invalid_request', 'there must be one Host header', { suspicious: 'no_host' });
  }
  if (isOddPath(req.path) || req.url.includes('#')) {
    const message =
      'the target must be a path, or a URL with a host; the path must not be percent-encoded nor hold //, \\ or #';
    throw new AppError('invalid_request', message, { suspicious: 'odd_path' });
  }
  next();
};

// Stands for a target that is refused as odd. Express would answer one that it cannot parse by itself, without a record.
const ODD_TARGET = '/%';
const ABSOLUTE = /^https?:\/\/(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?(?<path>\/[^]*|\?[^]*)?$/i;

/**
 * The target of a request in origin form. A target in absolute form must be accepted (RFC 9112 section 3.2.2): its path
 * is what counts, as it was sent. A parser of URLs would change it: one takes a backslash for a slash.
 */
export function originForm(target: string): string {
  if (target.startsWith('/') || target === '*') return target;
  const absolute = ABSOLUTE.exec(target);
  if (!absolute) return ODD_TARGET;
  const path = absolute.groups!['path'] ?? '/';
  return path.startsWith('/') ? path : `/${path}`;
}

/** HTTP/1.1 wants exactly one Host (RFC 9112 section 3.2). Node takes the first of several, a proxy maybe the last. */
export function hasOneHost({ headers, httpVersion, rawHeaders }: IncomingMessage): boolean {
  return headers.host === undefined ? httpVersion === '1.0' : timesSent(rawHeaders, 'host') === 1;
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
