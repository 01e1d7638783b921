import { createHmac } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { formatWebhookSecret, isSignedBy, parseWebhookSecret, signWebhook } from './webhook-signature.ts';

// The example of the specification (github.com/standard-webhooks/standard-webhooks, spec and library tests).
const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const message = { id: 'msg_p5jXN8AQM9LWM0D4loKWxJek', timestampSeconds: 1614265330, body: '{"test": 2432232314}' };
const signature = 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=';
const key = parseWebhookSecret(secret)!;
const otherKey = new Uint8Array(32).fill(7);

describe('a signature', () => {
  test('is the one of the specification, and of another program', () => {
    expect(signWebhook(key, message)).toBe(signature);
    const mac = createHmac('sha256', key).update(`${message.id}.${message.timestampSeconds}.${message.body}`);
    expect(signature).toBe(`v1,${mac.digest('base64')}`);
  });

  test.each([
    ['alone', signature],
    ['after the one of another secret', `${signWebhook(otherKey, message)} ${signature}`],
    ['beside one of another version', `v1a,${'A'.repeat(86)}== ${signature}`],
  ])('counts %s', (_where, header) => {
    expect(isSignedBy(key, message, header)).toBe(true);
  });

  test.each([
    ['of another secret', signWebhook(otherKey, message)],
    ['without its version', signature.slice(3)],
    ['of another version', signature.replace('v1', 'v1a')],
    ['with one bit changed', signature.replace('g0h', 'h0h')],
    ['that is too short', signature.slice(0, -4)],
    ['in another spelling of base64', signature.replace(/=$/, '')],
    ['with something behind it', `${signature},`],
    ['that is empty', ''],
    ['beyond the eighth', `${'v1,AAAA '.repeat(8)}${signature}`],
  ])('does not count %s', (_what, header) => {
    expect(isSignedBy(key, message, header)).toBe(false);
  });

  test.each([
    ['id', { ...message, id: 'msg_p5jXN8AQM9LWM0D4loKWxJel' }],
    ['timestamp', { ...message, timestampSeconds: message.timestampSeconds + 1 }],
    ['body', { ...message, body: '{"test": 2432232315}' }],
  ])('is of no other %s', (_part, other) => {
    expect(isSignedBy(key, other, signature)).toBe(false);
  });
});

describe('a secret', () => {
  test('is read as it is written', () => {
    expect(formatWebhookSecret(key)).toBe(secret);
    expect(parseWebhookSecret(formatWebhookSecret(otherKey))).toEqual(Buffer.from(otherKey));
  });

  test.each([
    ['without its prefix', secret.slice(6)],
    ['with too few bytes', formatWebhookSecret(new Uint8Array(23))],
    ['with too many bytes', formatWebhookSecret(new Uint8Array(65))],
    ['that is not base64', 'whsec_****************************************'],
    ['in another spelling of base64', `whsec_${'A'.repeat(43)}`],
    ['that is empty', ''],
  ])('is refused %s', (_what, text) => {
    expect(parseWebhookSecret(text)).toBeUndefined();
  });
});
