import { once } from 'node:events';
import { closeSync, openSync, writeSync } from 'node:fs';
import { lookup } from 'node:dns/promises';
import { createServer, connect } from 'node:net';
import type { AddressInfo } from 'node:net';
import { describe, expect, test } from '@jest/globals';
import { isKnownCause, rootCause, rootCode, withCause } from './cause.ts';

const message = (error: unknown) => withCause('It has failed.', error);
const coded = (code: string, message = 'message') => Object.assign(new Error(message), { code });

describe('the root cause of an error', () => {
  test('is at the end of its causes, and the first error of several', () => {
    const refused = coded('ECONNREFUSED');
    const both = new AggregateError([refused, coded('ENETUNREACH')]);
    const error = new Error('the database does not answer', { cause: new Error('no connection', { cause: both }) });

    expect(rootCause(error)).toBe(refused);
    expect(rootCode(error)).toBe('ECONNREFUSED');
  });

  test('is the error that operators know, if another one is deeper', () => {
    const full = new Error('no room', { cause: new Error('what the kernel said') });
    Object.assign(full, { code: 'ENOSPC' });

    expect(rootCause(new Error('outermost', { cause: full }))).toBe(full);
  });

  test('is that of the work, and not that of its clean-up', () => {
    const error = new SuppressedError(coded('EIO'), coded('ENOSPC'));

    expect(rootCode(error)).toBe('ENOSPC');
  });

  test('is found in a circle too', () => {
    const error = new Error('a');
    error.cause = new Error('b', { cause: error });

    expect(rootCause(error)).toBeInstanceOf(Error);
    expect(isKnownCause(error)).toBe(false);
  });
});

describe('a message with its cause says what to do about', () => {
  test('a full disk', () => {
    const full = openSync('/dev/full', 'w');
    try {
      expect(() => writeSync(full, 'x')).toThrow(expect.objectContaining({ code: 'ENOSPC' }));
    } finally {
      closeSync(full);
    }
    const words = 'It has failed, because the disk is full (ENOSPC): make room on it';
    expect(message(new Error('CommitError', { cause: coded('ENOSPC') }))).toBe(words);
  });

  test('a taken port, and a port that nothing listens at', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const [taken] = (await once(createServer().listen(port, '127.0.0.1'), 'error').catch((error: unknown) => [
      error,
    ])) as [unknown];
    expect(message(taken)).toBe(
      `It has failed, because port ${port} is in use (EADDRINUSE): stop what uses it, or set another port`,
    );
    server.close();
    await once(server, 'close');

    const refused = await once(connect(port, '127.0.0.1'), 'connect').catch((error: unknown) => error);
    expect(message(refused)).toBe(
      `It has failed, because nothing listens at 127.0.0.1:${port} (ECONNREFUSED): start it, or correct its address`,
    );
  });

  test('a name that nobody knows', async () => {
    const error = await lookup('cardea.invalid').catch((reason: unknown) => reason);
    expect(message(error)).toMatch(
      /^It has failed, because nobody knows the name cardea\.invalid \((ENOTFOUND|EAI_AGAIN)\)/,
    );
  });

  test('a request that has timed out', async () => {
    const { promise, reject } = Promise.withResolvers<never>();
    const signal = AbortSignal.timeout(1);
    signal.addEventListener('abort', () => reject(signal.reason as Error));
    const error: unknown = await promise.catch((reason: unknown) => reason);
    expect(message(error)).toMatch(/because no answer came in time \(ETIMEDOUT\)/);
  });

  test.each([
    ['EACCES', 'the user that runs Cardea may not use a file'],
    ['EROFS', 'mount it for writing'],
    ['SQLITE_BUSY_SNAPSHOT', 'another process uses the database file'],
    ['SQLITE_CORRUPT', 'put the data folder back from a backup'],
    ['SQLITE_FULL', 'make room on it'],
    ['SQLITE_IOERR_WRITE', 'look at the room on it'],
    ['SQLITE_READONLY_DBMOVED', 'can only be read'],
    ['CERT_HAS_EXPIRED', 'set the clock of this machine right'],
    ['CERT_NOT_YET_VALID', 'set the clock right'],
    ['28P01', 'message (28P01): correct the user or the password'],
    ['3D000', 'message (3D000): make it'],
    ['53300', 'raise max_connections'],
    ['53100', 'the disk of PostgreSQL is full'],
  ])('%s', (code, words) => expect(message(new Error('outer', { cause: coded(code) }))).toContain(words));

  test.each([
    ['NOAUTH Authentication required.', 'Redis refuses the password (NOAUTH)'],
    ['WRONGPASS invalid username-password pair', 'Redis refuses the password (WRONGPASS)'],
    ['OOM command not allowed', 'Redis has no memory left (OOM)'],
  ])('the error of Redis %s', (reply, words) => {
    expect(message(Object.assign(new Error(reply), { name: 'ReplyError' }))).toContain(words);
  });

  test('an error that operators do not know: its own text', () => {
    expect(message(new Error('outer', { cause: new Error('the head is at 1.') }))).toBe(
      'It has failed, because the head is at 1',
    );
    expect(message(undefined)).toBe('It has failed');
  });
});
