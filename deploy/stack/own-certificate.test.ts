import { mkdtempSync, readFileSync, rmSync, statSync, existsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ensureCertificates } from '../certificates.ts';
import { takeCertificate } from './own-certificate.ts';

const now = new Date('2026-11-22T12:00:00Z');
const folder = mkdtempSync(join(tmpdir(), 'cardea-own-certificate-'));
const certificate = join(folder, 'tls/nginx.pem');
const key = join(folder, 'tls/nginx.key');
const stack = join(folder, 'stack');

beforeAll(async () => {
  await ensureCertificates(join(folder, 'tls'), now, { servers: { nginx: ['cardea.example.com', '192.0.2.7'] } });
});
afterAll(() => rmSync(folder, { recursive: true }));

test('a certificate that is right comes into the folder of the stack, and only its owner can read the key', async () => {
  await takeCertificate(stack, { certificate, key }, { hosts: ['cardea.example.com', '192.0.2.7'], now });
  expect(readFileSync(join(stack, 'proxy/certificate.pem'), 'utf8')).toBe(readFileSync(certificate, 'utf8'));
  expect(readFileSync(join(stack, 'proxy/certificate.key'), 'utf8')).toBe(readFileSync(key, 'utf8'));
  expect(statSync(join(stack, 'proxy/certificate.key')).mode & 0o777).toBe(0o600);
});

describe('refused, and nothing is taken:', () => {
  const hosts = ['cardea.example.com'];
  const late = new Date('2030-01-01T00:00:00Z');
  test.each([
    ['the key of another one', { key: join(folder, 'tls/worker.key') }, { hosts, now }, /is not the key of/],
    ['an expired one', {}, { hosts, now: late }, /expired at 2029-/],
    ['one for another name', {}, { hosts: ['other.example.com'], now }, /is not for other\.example\.com$/],
    ['one for another address', {}, { hosts: ['192.0.2.8'], now }, /is not for 192\.0\.2\.8$/],
    [
      'a file that is not there',
      { certificate: join(folder, 'none') },
      { hosts, now },
      /none cannot be read, because it is not there \(ENOENT\)/,
    ],
    ['a file that is no certificate', { certificate: join(folder, 'text') }, { hosts, now }, /cannot be read as PEM/],
  ])('%s', async (_what, files, wanted, message) => {
    writeFileSync(join(folder, 'text'), 'text');
    const empty = mkdtempSync(join(folder, 'empty-'));
    await expect(takeCertificate(empty, { certificate, key, ...files }, wanted)).rejects.toThrow(message);
    expect(existsSync(join(empty, 'proxy'))).toBe(false);
  });
});
