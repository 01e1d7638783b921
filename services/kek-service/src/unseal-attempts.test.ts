import { AppError } from '@cardea/contracts/errors';
import { expect, test } from '@jest/globals';
import { createUnsealAttempts } from './unseal-attempts.ts';

const wrong = async () => {
  throw new AppError('access_denied', 'the passphrase is wrong');
};
const right = async () => {};
const auditIsAway = async () => {
  throw new AppError('unavailable', 'the audit log does not answer');
};
const denied = { code: 'access_denied' };

test('the wait doubles after each wrong attempt, up to a minute, and a right attempt resets it', async () => {
  let now = 1_000_000;
  const attempts = createUnsealAttempts(() => now);
  for (const waitSeconds of [1, 2, 4, 8, 16, 32, 60, 60]) {
    await expect(attempts.run('operator', wrong)).rejects.toMatchObject(denied);
    now += waitSeconds * 1_000 - 1;
    const tooEarly = { code: 'rate_limited', retryAfterSeconds: 1 };
    await expect(attempts.run('operator', right)).rejects.toMatchObject(tooEarly);
    now += 1;
  }
  await attempts.run('operator', right);
  await expect(attempts.run('operator', wrong)).rejects.toMatchObject(denied);
  now += 1_000;
  await attempts.run('operator', right);
});

test('an attempt that fails for another reason than the passphrase causes no wait', async () => {
  const attempts = createUnsealAttempts(() => 0);
  await expect(attempts.run('operator', auditIsAway)).rejects.toMatchObject({ code: 'unavailable' });
  await attempts.run('operator', right);
});

test('only one attempt runs at a time, for all peers together', async () => {
  const attempts = createUnsealAttempts(() => 0);
  const gate = Promise.withResolvers<void>();
  const first = attempts.run('operator', () => gate.promise);
  await expect(attempts.run('another', right)).rejects.toMatchObject({ code: 'rate_limited' });
  gate.resolve();
  await first;
  await attempts.run('another', right);
});
