import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { listEntries, readCheckpoint } from '@cardea/contracts/audit-api';
import { unwrapDeks } from '@cardea/contracts/kek-api';
import { seal } from '@cardea/contracts/seal-api';
import { ensureCertificates } from '@cardea/deploy/certificates';
import { createClient } from '@cardea/http/client/peer-client';
import type { Client } from '@cardea/http/client/peer-client';
import { readTlsIdentity } from '@cardea/http/mtls';
import type { ServiceName } from '@cardea/http/mtls';
import { useSystem } from '@cardea/testkit/use-system';
import type { Entry } from '@cardea/testkit/person';
import { expect, test } from '@jest/globals';
import { callAs } from '../access/probes.ts';

// In one profile: this is about certificates, and no database has a part in it.
const [system] = useSystem('mini');

const list = (client: Client) => client.call(listEntries, {});
const close = (client: Client) => client.call(seal, { body: {} });
const unwrap = (client: Client) =>
  client.call(unwrapDeks, {
    body: { items: [{ vaultId: crypto.randomUUID(), dekVersion: 1, wrappedDekBase64: 'AAAA', kekVersion: 1 }] },
  });

type Peer = 'kek-service' | 'audit-service';

test.each<[ServiceName, string, Peer, string, (client: Client) => Promise<unknown>]>([
  ['worker', 'list entries', 'audit-service', 'audit.read', list],
  ['kek-service', 'list entries', 'audit-service', 'audit.read', list],
  ['audit-service', 'unwrap a DEK', 'kek-service', 'dek.unwrap', unwrap],
  ['operator', 'unwrap a DEK', 'kek-service', 'dek.unwrap', unwrap],
  ['api-service', 'seal', 'kek-service', 'seal.close', close],
])('the certificate of %s may not %s, and the attempt is recorded', async (name, _what, peer, action, call) => {
  const refused = callAs(system, { name, peer }, call);
  await expect(refused).rejects.toMatchObject({
    code: 'access_denied',
    message: expect.stringContaining('certificate'),
  });

  const admin = await system.as('admin');
  const { body } = await admin.get(`/audit/entries?decision=deny&action=${action}&actor=${name}`).expect(200);
  expect((body.items as Entry[]).map(({ event }) => event)).toMatchObject([
    { actor: { id: name, type: 'service' }, reason: 'access_denied', suspicious: 'wrong_peer' },
  ]);
});

test('a peer with a certificate of another CA is refused', async () => {
  const tlsDir = await mkdtemp(join(tmpdir(), 'cardea-other-ca-'));
  await ensureCertificates(tlsDir, new Date());
  const name = 'api-service';
  for (const peer of ['kek-service', 'audit-service'] as const) {
    await expect(callAs(system, { name, peer, tlsDir }, list)).rejects.toMatchObject({ code: 'unavailable' });
  }
  await rm(tlsDir, { recursive: true });
});

test('a service with the name of another service is refused, even under the same CA', async () => {
  const { CARDEA_AUDIT_URL: url = '', CARDEA_TLS_DIR: tlsDir = '' } = system.environment('api');
  const identity = readTlsIdentity(tlsDir, 'api-service');
  for (const [peer, outcome] of [
    ['audit-service', expect.stringContaining('cardea.local/audit')],
    ['kek-service', 'unavailable'],
  ] as const) {
    const client = createClient({ url, peer, identity });
    const answered = await client.text(readCheckpoint.path).catch((error: { code: string }) => error.code);
    expect(answered).toEqual(outcome);
    await client.close();
  }
});
