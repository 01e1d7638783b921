import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseBase64 } from '@cardea/crypto/encoding';
import { verifyConsistency, verifyInclusion } from '@cardea/crypto/merkle';
import { inEachProfile } from '@cardea/testkit/use-system';
import { expect, test } from '@jest/globals';
import { grant, newApplication } from '../access/granting.ts';
import { expectRecords } from '../identity/identity.ts';

const verifier = fileURLToPath(new URL('../../services/audit-service/src/verifier.mjs', import.meta.url));
const bytes = (base64: string) => parseBase64(base64)!;

inEachProfile((system, { admin, alice, bob, carla }) => {
  async function checkpoint(): Promise<{ size: number; root: Uint8Array }> {
    const { text } = await carla.get('/audit/checkpoint').expect(200);
    const [, size, root] = text.split('\n');
    return { size: Number(size), root: bytes(root!) };
  }

  test('whoever got a secret turns the receipt into a proof, and the verifier checks it offline', async () => {
    await alice.createVault('payments');
    await alice.putSecret('payments', 'db/password', 'v');
    const ci = await newApplication(system, 'ci');
    await grant(alice, 'payments', 'application:ci', { secrets: ['read'], keys: [] }).expect(201);
    const read = await ci.get('/vaults/payments/secrets/db/password').expect(200);
    const receipt = read.headers['cardea-receipt']!;
    const [, seq, leaf] = /^seq=(\d+) leaf=(.+)$/.exec(receipt)!;

    const answer = await ci.get(`/audit/proofs/receipt?${new URLSearchParams({ seq: seq!, leaf: leaf! }).toString()}`);
    expect([answer.status, answer.headers['content-type']]).toEqual([200, 'text/plain; charset=utf-8']);
    await expectRecords(system, answer, { action: 'audit.read', decision: 'allow', rule: 'signed-in' });
    const file = join(system.dataDir, 'read.tlog-proof');
    writeFileSync(file, answer.text);
    const key = readFileSync(join(system.dataDir, 'audit', 'verifier-key'), 'utf8');
    const args = [verifier, '--key', key, '--proof', file, '--receipt', receipt];
    expect(execFileSync(process.execPath, args, { encoding: 'utf8' })).toContain(`is entry ${seq} of`);

    const other = new URLSearchParams({ seq: String(Number(seq) - 1), leaf: leaf! }).toString();
    const refused = await ci.get(`/audit/proofs/receipt?${other}`).expect(404);
    await expectRecords(system, refused, { action: 'audit.read', decision: 'deny', rule: 'default-deny' });
  });

  test('the proofs of inclusion and consistency fit the checkpoints', async () => {
    const entry = (await carla.get('/audit/entries?limit=1').expect(200)).body.items[0] as { seq: number };
    const included = await carla.get(`/audit/proofs/inclusion?seq=${entry.seq}`).expect(200);
    const before = await checkpoint();
    expect(included.body).toMatchObject({ seq: entry.seq, size: before.size });
    const { leaf, hashes } = included.body as { leaf: string; hashes: string[] };
    const claim = { seq: entry.seq, size: before.size, leaf: bytes(leaf), root: before.root, proof: hashes.map(bytes) };
    expect(verifyInclusion(claim)).toBe(true);

    await carla.get(`/audit/proofs/inclusion?seq=${before.size}`).expect(200);
    const after = await checkpoint();
    expect(after.size).toBeGreaterThan(before.size);
    const answer = await carla.get(`/audit/proofs/consistency?from=${before.size}&to=${after.size}`).expect(200);
    const proof = (answer.body.hashes as string[]).map(bytes);
    const link = { from: before.size, to: after.size, fromRoot: before.root, toRoot: after.root, proof };
    expect(verifyConsistency(link)).toBe(true);
    await expectRecords(system, answer, { action: 'audit.read', decision: 'allow', rule: 'role:ceo' });
  });

  test.each([
    ['inclusion?seq=999999', 'seq'],
    ['inclusion?seq=3&size=3', 'seq'],
    ['inclusion?seq=3&size=999999', 'size'],
    ['consistency?from=0', 'from'],
    ['consistency?from=3&to=2', 'from'],
    ['consistency?from=1&to=999999', 'to'],
    ['receipt?seq=1&leaf=AAAA', 'leaf'],
  ])('there is no proof of %s', async (path, parameter) => {
    const { body } = await admin.get(`/audit/proofs/${path}`).expect(400);
    expect(body.errors).toEqual([{ path: `query.${parameter}`, message: expect.any(String) }]);
    if (!path.startsWith('receipt')) await bob.get(`/audit/proofs/${path.replace('=0', '=1')}`).expect(403);
  });
});
