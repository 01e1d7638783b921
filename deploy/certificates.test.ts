import { createPrivateKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createServer } from 'node:tls';
import type { TLSSocket } from 'node:tls';

import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';

import { certificateNames, certificatesDue, DAY_MS } from './certificates-due.ts';
import { ensureCertificates } from './certificates.ts';

const now = new Date('2026-11-22T12:00:00Z');
const inDays = (days: number) => new Date(now.getTime() + days * DAY_MS);

const scratch = mkdtempSync(join(tmpdir(), 'cardea-certificates-'));
const fresh = join(scratch, 'fresh');
let folder = fresh;
let count = 0;

beforeAll(() => ensureCertificates(fresh, now));
afterAll(() => rmSync(scratch, { recursive: true }));
beforeEach(() => {
  folder = join(scratch, `copy-${++count}`);
  cpSync(fresh, folder, { recursive: true });
});

const certificate = (name: string) => new X509Certificate(readFileSync(join(folder, `${name}.pem`)));
const key = (name: string) => createPrivateKey(readFileSync(join(folder, `${name}.key`)));

describe('the certificates of a first start', () => {
  test('have a CA for ten years that may sign leaves only', () => {
    const ca = certificate('ca');
    expect(ca.ca).toBe(true);
    expect(ca.verify(ca.publicKey)).toBe(true);
    expect(ca.validFromDate).toEqual(new Date('2026-11-22T11:55:00Z'));
    expect(ca.validToDate).toEqual(inDays(3652));
  });

  test.each(certificateNames)('have a leaf for %s only, signed by the CA, for 90 days, with its own key', (name) => {
    const leaf = certificate(name);
    expect(leaf.checkIssued(certificate('ca'))).toBe(true);
    expect(leaf.verify(certificate('ca').publicKey)).toBe(true);
    expect(leaf.checkPrivateKey(key(name))).toBe(true);
    expect(leaf.ca).toBe(false);
    expect(leaf.subjectAltName).toBe(`URI:spiffe://cardea/${name}, DNS:localhost, IP Address:127.0.0.1`);
    expect(leaf.validToDate).toEqual(inDays(90));
    expect(leaf.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
  });

  test('have different serial numbers of 16 bytes', () => {
    const serials = ['ca', ...certificateNames].map((name) => certificate(name).serialNumber);
    expect(new Set(serials).size).toBe(serials.length);
    for (const serial of serials) expect(serial).toMatch(/^[4-7][0-9A-F]{31}$/);
  });

  test('have keys that only the owner can read, and leave no temporary file', () => {
    for (const name of ['ca', ...certificateNames]) {
      expect(statSync(join(folder, `${name}.key`)).mode & 0o777).toBe(0o600);
    }
    expect(readdirSync(folder)).toHaveLength(2 * (certificateNames.length + 1));
  });

  test('let two services speak TLS 1.3 and see the name of their peer', async () => {
    const pair = (name: string) => ({
      cert: certificate(name).toString(),
      key: key(name).export({ type: 'pkcs8', format: 'pem' }),
    });
    const common = { ca: certificate('ca').toString(), minVersion: 'TLSv1.3' } as const;
    // The certificates are of November 2026, which may not be this machine's time. The chain is checked above.
    const server = createServer({ ...common, ...pair('kek-service'), requestCert: true, rejectUnauthorized: false });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('not listening on a port');
    const accepted = once(server, 'secureConnection') as Promise<[TLSSocket]>;
    const client = connect({
      ...common,
      ...pair('worker'),
      port: address.port,
      host: '127.0.0.1',
      rejectUnauthorized: false,
    });
    await once(client, 'secureConnect');
    const [seen] = await accepted;

    expect(client.getPeerX509Certificate()?.subjectAltName).toContain('URI:spiffe://cardea/kek-service');
    expect(seen.getPeerX509Certificate()?.subjectAltName).toContain('URI:spiffe://cardea/worker');
    client.destroy();
    seen.destroy();
    server.close();
  });
});

describe('the certificate of a server that is no service', () => {
  const options = { servers: { nginx: ['cardea.example.com', '192.0.2.7', '2001:db8::1'] } };

  test('lasts for 824 days, has its hosts, and is no identity of a client', async () => {
    expect(await ensureCertificates(folder, now, options)).toEqual({ made: ['nginx'], renewed: [] });
    const leaf = certificate('nginx');
    expect(leaf.subjectAltName).toBe('DNS:cardea.example.com, IP Address:192.0.2.7, IP Address:2001:DB8:0:0:0:0:0:1');
    expect(leaf.validToDate).toEqual(inDays(824));
    expect(leaf.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
    expect(leaf.verify(certificate('ca').publicKey)).toBe(true);
  });

  test.each(['cardea.example.org', '192.0.2.8', '2001:db8::2'])(
    'is renewed when it lacks the host %s',
    async (host) => {
      await ensureCertificates(folder, now, options);
      const more = { servers: { nginx: [...options.servers.nginx, host] } };
      expect(await ensureCertificates(folder, now, more)).toEqual({ made: [], renewed: ['nginx'] });
      expect(await ensureCertificates(folder, now, more)).toEqual({ made: [], renewed: [] });
    },
  );
});

describe('a later start', () => {
  test('makes nothing while every leaf has 30 days left', async () => {
    expect(await ensureCertificates(folder, inDays(59))).toEqual({ made: [], renewed: [] });
  });

  test('renews leaves with less than 30 days left for 90 days, with the same CA and key', async () => {
    const before = { ca: certificate('ca').serialNumber, worker: certificate('worker').serialNumber };
    const { made, renewed } = await ensureCertificates(folder, inDays(61));

    expect(made).toEqual([]);
    expect(renewed).toEqual([...certificateNames]);
    expect(certificate('ca').serialNumber).toBe(before.ca);
    expect(certificate('worker').serialNumber).not.toBe(before.worker);
    expect(certificate('worker').validToDate).toEqual(inDays(151));
    expect(certificate('worker').verify(certificate('ca').publicKey)).toBe(true);
    expect(certificate('worker').checkPrivateKey(key('worker'))).toBe(true);
  });

  test('makes a leaf that does not outlive the CA, and does not renew it again before that', async () => {
    await ensureCertificates(folder, inDays(3640));
    expect(certificate('worker').validToDate).toEqual(certificate('ca').validToDate);
    expect(await ensureCertificates(folder, inDays(3641))).toEqual({ made: [], renewed: [] });
  });

  test('makes only the missing leaf', async () => {
    rmSync(join(folder, 'operator.pem'));
    expect(await ensureCertificates(folder, now)).toEqual({ made: ['operator'], renewed: [] });
  });

  test('renews only the leaf that lacks a new DNS name', async () => {
    const options = { extraDnsNames: { 'kek-service': ['kek.internal'] } };
    expect(await ensureCertificates(folder, now, options)).toEqual({ made: [], renewed: ['kek-service'] });
    expect(certificate('kek-service').subjectAltName).toContain('DNS:kek.internal');
    expect(certificatesDue(folder, now, options)).toEqual({ ca: false, make: [], renew: [] });
  });

  test.each([
    ['of another CA', 'worker.pem'],
    ['that does not match its key', 'worker.key'],
  ])('renews a leaf %s', async (_what, file) => {
    const other = join(scratch, `other-${file}`);
    await ensureCertificates(other, now);
    cpSync(join(other, file), join(folder, file));
    expect(await ensureCertificates(folder, now)).toEqual({ made: [], renewed: ['worker'] });
    expect(certificate('worker').checkPrivateKey(key('worker'))).toBe(true);
    expect(certificate('worker').verify(certificate('ca').publicKey)).toBe(true);
  });

  test('continues after a crash between two files', async () => {
    for (const file of readdirSync(folder)) if (file !== 'ca.key') rmSync(join(folder, file));
    const { made } = await ensureCertificates(folder, now);
    expect(made).toEqual(['ca', ...certificateNames]);
    expect(certificate('ca').checkPrivateKey(key('ca'))).toBe(true);
  });
});

describe('a start refuses in one sentence:', () => {
  test('a damaged certificate', async () => {
    writeFileSync(join(folder, 'worker.pem'), readFileSync(join(folder, 'worker.pem'), 'utf8').slice(0, 300));
    await expect(ensureCertificates(folder, now)).rejects.toThrow(/worker\.pem is damaged: put it back from a backup/);
  });

  test('a damaged key', async () => {
    writeFileSync(join(folder, 'ca.key'), '');
    await expect(ensureCertificates(folder, now)).rejects.toThrow(/ca\.key is damaged/);
  });

  test('a CA without its key', async () => {
    rmSync(join(folder, 'ca.key'));
    await expect(ensureCertificates(folder, now)).rejects.toThrow(/ca\.key is missing but ca\.pem exists/);
  });

  test("another CA's key", async () => {
    cpSync(join(folder, 'worker.key'), join(folder, 'ca.key'));
    await expect(ensureCertificates(folder, now)).rejects.toThrow(/do not belong together/);
  });

  test('a clock that is before the certificates were made', async () => {
    await expect(ensureCertificates(folder, inDays(-1))).rejects.toThrow(
      'the clock of this machine says 2026-11-21T12:00:00.000Z, which is before the certificates were made ' +
        `(2026-11-22T11:55:00.000Z): set the clock, or, if it is right and was ahead before, delete the folder ${folder}`,
    );
  });

  test('a clock that was ahead at the first start, until the folder is deleted as the message says', async () => {
    rmSync(folder, { recursive: true });
    await ensureCertificates(folder, inDays(1));
    await expect(ensureCertificates(folder, now)).rejects.toThrow(`delete the folder ${folder} and start Cardea again`);
    rmSync(folder, { recursive: true });
    expect((await ensureCertificates(folder, now)).made).toContain('ca');
    expect(await ensureCertificates(folder, now)).toEqual({ made: [], renewed: [] });
  });

  test('a CA that has expired', async () => {
    await expect(ensureCertificates(folder, inDays(3653))).rejects.toThrow(/the certificates expired at 2036-11-21/);
  });
});
