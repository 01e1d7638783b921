import { expect, test } from '@jest/globals';
import { allowed } from './logger.ts';

test('a log line holds only the fields of the allow-list', () => {
  const line = allowed(
    {
      level: 'error',
      message: 'request failed',
      requestId: 'r1',
      password: 'hunter2',
      body: { value: 'hunter2' },
      value: Buffer.from('hunter2'),
      headers: { authorization: 'Bearer hunter2' },
      error: Object.assign(new Error('duplicate key'), { code: '23505', detail: 'Key (value)=(hunter2) exists' }),
    },
    'api',
  );
  expect(JSON.stringify(line)).not.toContain('hunter2');
  expect(line).toMatchObject({
    service: 'api',
    level: 'error',
    message: 'request failed',
    requestId: 'r1',
    error: { name: 'Error', code: '23505', message: 'duplicate key' },
  });
});

test('a log line has the causes of an error, and every one of several', () => {
  const cause = new AggregateError([new Error('the log is away'), new Error('the database is away')], 'both');
  const line = allowed({ level: 'error', message: 'm', error: new Error('no answer', { cause }) }, 'api');
  expect(line['error']).toMatchObject({
    message: 'no answer',
    cause: { message: 'both', errors: [{ message: 'the log is away' }, { message: 'the database is away' }] },
  });
});
