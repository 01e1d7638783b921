import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openCheckpoint, signCheckpoint } from '@cardea/crypto/checkpoint';
import type { SigningKey } from '@cardea/crypto/checkpoint';
import { parseBase64, toBase64 } from '@cardea/crypto/encoding';
import { leafHash } from '@cardea/crypto/hash-chain';
import { rootHash, verifyConsistency, verifyInclusion } from '@cardea/crypto/merkle';
import type { Db, SqlValue } from '@cardea/storage/db';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readEntryBytes, storedTree } from '../src/entry-store.ts';
import type { AuditStore } from '../src/append/log.ts';
import { createProofCheckpoints, proveConsistency, proveInclusion, proveReceipt } from '../src/read/proofs.ts';
import type { ProvingContext } from '../src/read/proofs.ts';
import type { Signer } from '../src/sign/checkpoint.ts';
import { auditDatabase, engines } from './audit-database.ts';
import type { AuditDatabase } from './audit-database.ts';
import { ORIGIN, anEvent, appendTo, someEvents, startLog } from './test-log.ts';
import { verify } from './verify.ts';

const SIZE = 1_400;

const bytes = (base64: string) => parseBase64(base64)!;

describe.each(engines)('a proof on %s', (engine) => {
  let database: AuditDatabase;
  let db: Db;
  let ctx: ProvingContext;
  let log: AuditStore;
  let signer: Signer;
  let vkey: string;
  let key: SigningKey;

  beforeAll(async () => {
    database = await auditDatabase(engine);
    db = database.open();
    const started = await startLog(db, database.folder);
    ({ log, vkey, key } = started);
    for (let left = SIZE; left > 0; left -= 350) await appendTo(log, someEvents(350));
    await started.signer.signIfGrown();
    signer = started.signer;
    ctx = { db, log, checkpoints: createProofCheckpoints(signer) };
  });

  afterAll(async () => {
    await db.close();
    await database.remove();
  });

  const rootAt = (size: number) => rootHash(storedTree(db), size);
  async function leafOf(seq: number): Promise<string> {
    const [entry] = await readEntryBytes(db, seq, seq + 1);
    return toBase64(leafHash(entry!));
  }

  test.each([
    [0, 1],
    [0, SIZE],
    [255, 256],
    [256, 257],
    [700, 1_024],
    [SIZE - 1, undefined],
  ])('shows that entry %d is in the log of %p entries', async (seq, size) => {
    const answer = await proveInclusion(ctx, { seq, size });
    expect(answer).toEqual({
      proof: { seq, size: size ?? SIZE, leaf: await leafOf(seq), hashes: expect.any(Array) },
    });
    if (!('proof' in answer)) return;
    const { proof } = answer;
    const claim = { seq, size: proof.size, leaf: bytes(proof.leaf), proof: proof.hashes.map(bytes) };
    expect(verifyInclusion({ ...claim, root: await rootAt(proof.size) })).toBe(true);
    expect(
      verifyInclusion({ ...claim, leaf: bytes(await leafOf((seq + 1) % SIZE)), root: await rootAt(proof.size) }),
    ).toBe(false);
  });

  test.each([
    [1, SIZE],
    [255, 257],
    [512, 1_025],
    [SIZE, undefined],
    [SIZE - 1, undefined],
  ])('shows that the log of %d entries is the beginning of that of %p', async (from, to) => {
    const answer = await proveConsistency(ctx, { from, to });
    if (!('proof' in answer)) throw new Error('refused');
    const { proof } = answer;
    expect(proof).toMatchObject({ from, to: to ?? SIZE });
    const claim = { from, to: proof.to, toRoot: await rootAt(proof.to), proof: proof.hashes.map(bytes) };
    expect(verifyConsistency({ ...claim, fromRoot: await rootAt(from) })).toBe(true);
    expect(verifyConsistency({ ...claim, fromRoot: Buffer.alloc(32) })).toBe(false);
  });

  test.each([
    [() => proveInclusion(ctx, { seq: SIZE }), 'seq'],
    [() => proveInclusion(ctx, { seq: 5, size: 5 }), 'seq'],
    [() => proveInclusion(ctx, { seq: 5, size: SIZE + 1 }), 'size'],
    [() => proveConsistency(ctx, { from: SIZE + 1 }), 'from'],
    [() => proveConsistency(ctx, { from: 3, to: SIZE + 1 }), 'to'],
    [() => proveConsistency(ctx, { from: 5, to: 4 }), 'from'],
    [async () => proveReceipt(ctx, { seq: 5, leaf: await leafOf(6) }), 'leaf'],
    [async () => proveReceipt(ctx, { seq: SIZE, leaf: await leafOf(5) }), 'leaf'],
  ])('that does not exist is refused: %#', async (ask, parameter) => {
    expect(await ask()).toEqual({ refused: { parameter, message: expect.any(String), unknown: false } });
  });

  test('takes few hashes of the tree, however long the log is', async () => {
    const rows: number[] = [];
    const watched: Db = {
      ...db,
      async query<Row>(sql: string, params?: SqlValue[]) {
        const found = await db.query<Row>(sql, params);
        if (/audit_(entry|tile)/.test(sql)) rows.push(found.length);
        return found;
      },
    };
    await proveInclusion({ ...ctx, db: watched }, { seq: 300, size: 1_399 });
    await proveConsistency({ ...ctx, db: watched }, { from: 300, to: 1_399 });

    // Of both: the leaves beside the entry, those after the last stored subtree, and the subtrees.
    expect(rows.reduce((sum, count) => sum + count, 0)).toBeLessThan(4 * 256 + 32);
    expect(rows.length).toBeLessThan(24);
  });

  test('of a receipt stands alone: the verifier checks it without the log', async () => {
    const path = join(database.folder, 'receipt.tlog-proof');
    const write = (text: string) => (writeFileSync(path, text), path);
    for (const seq of [0, 255, 256, SIZE - 1]) {
      const answer = await proveReceipt(ctx, { seq, leaf: await leafOf(seq) });
      if (!('proof' in answer)) throw new Error('refused');
      const { proof } = answer;
      const receipt = `seq=${seq} leaf=${await leafOf(seq)}`;
      const check = (text: string, ...more: string[]) =>
        verify('--key', vkey, '--proof', write(text), '--receipt', receipt, ...more);
      expect(proof).toMatch(
        /^c2sp\.org\/tlog-proof@v1\nindex \d+\n([A-Za-z0-9+/]{43}=\n)+\ncardea\.test\/audit\n\d+\n/,
      );
      expect(openCheckpoint(proof.slice(proof.indexOf('\n\n') + 2), vkey).size).toBe(SIZE);
      expect(check(proof)).toEqual({
        code: 0,
        said: expect.stringContaining(`OK: the entry of the receipt is entry ${seq} of`),
      });
      expect(check(proof.replace('\n', '\nextra YWJj\n'))).toMatchObject({ code: 0 });

      const held = join(database.folder, 'held');
      writeFileSync(held, signer.newest().note);
      expect(check(proof, '--checkpoint', held)).toMatchObject({ code: 0 });
      const other = { origin: ORIGIN, size: SIZE, root: Buffer.alloc(32) };
      writeFileSync(held, signCheckpoint(key, other));
      expect(check(proof, '--checkpoint', held)).toMatchObject({ code: 14 });

      const [, , firstHash = ''] = proof.split('\n');
      const changed = firstHash.startsWith('A') ? `B${firstHash.slice(1)}` : `A${firstHash.slice(1)}`;
      for (const bad of [
        proof.replace(firstHash, changed),
        proof.replace(`${firstHash}\n`, ''),
        proof.replace(firstHash, `${firstHash}\n${firstHash}`),
        proof.replace(`index ${seq}`, `index ${seq + 1}`),
        proof.replace('tlog-proof@v1', 'tlog-proof@v2'),
        '',
      ]) {
        expect(check(bad)).toMatchObject({ code: 17 });
      }
      expect(check(proof.replace(`\n${SIZE}\n`, `\n${SIZE - 1}\n`))).toMatchObject({ code: 15 });
      const wrongLeaf = `seq=${seq} leaf=${await leafOf((seq + 1) % SIZE)}`;
      expect(verify('--key', vkey, '--proof', write(proof), '--receipt', wrongLeaf)).toMatchObject({ code: 17 });
      const wrongSeq = `seq=${seq + 1} leaf=${await leafOf(seq)}`;
      expect(verify('--key', vkey, '--proof', write(proof), '--receipt', wrongSeq)).toMatchObject({ code: 17 });
    }
    expect(verify('--key', vkey, '--proof', path)).toMatchObject({ code: 2 });
  });

  test('of an entry that is not signed yet has a new checkpoint', async () => {
    const { items } = await appendTo(log, [anEvent()]);
    const [{ seq, leaf }] = items as [{ id: string; seq: number; leaf: string }];
    const answer = await proveReceipt(ctx, { seq, leaf });

    expect(answer).toEqual({ proof: expect.stringContaining(`\n${SIZE + 1}\n`) });
    expect(signer.newest().size).toBe(SIZE + 1);
  });

  test('makes the log sign only for entries that it has, and once for all who ask within a second', async () => {
    const signed: number[] = [];
    const counting = { ...signer, signIfGrown: () => (signed.push(performance.now()), signer.signIfGrown()) };
    const counted = { db, log, checkpoints: createProofCheckpoints(counting) };
    const { items, size } = await appendTo(log, [anEvent(), anEvent()]);
    const [{ leaf }, last] = items as { seq: number; leaf: string }[] as [
      { leaf: string },
      { seq: number; leaf: string },
    ];
    for (const nothing of [
      proveInclusion(counted, { seq: size }),
      proveInclusion(counted, { seq: 5, size: size + 1 }),
      proveConsistency(counted, { from: size + 1 }),
      proveReceipt(counted, { seq: size, leaf }),
      proveReceipt(counted, { seq: last.seq, leaf }),
    ]) {
      expect(await nothing).toHaveProperty('refused');
    }
    expect(signed).toHaveLength(0);

    // Each looks into the database first, and on a slow machine one would be late.
    const [all, { checkpoints }] = [Promise.withResolvers<void>(), counted];
    let asking = 0;
    const together = async (size: number) => {
      if ((asking += 1) === 5) all.resolve();
      await all.promise;
      return checkpoints.over(size);
    };
    const asked = Array.from({ length: 5 }, () => proveReceipt({ ...counted, checkpoints: { over: together } }, last));
    for (const answer of await Promise.all(asked)) expect(answer).toHaveProperty('proof');
    expect(signed).toHaveLength(1);
    const more = await appendTo(log, [anEvent()]);
    await proveInclusion(counted, { seq: more.size - 1 });
    expect(signed).toHaveLength(2);
    // A timer may end a moment early.
    expect(signed[1]! - signed[0]!).toBeGreaterThan(990);
  });
});
