import type { Person } from '@cardea/testkit/person';
import { PASSWORD } from '@cardea/testkit/system';
import { inEachProfile } from '@cardea/testkit/use-system';
import { vaultLock } from '@cardea/vault/locks';
import { expect, test } from '@jest/globals';
import { countStatuses } from '../identity/identity.ts';
import { at as atKey, base64, encrypt, makeKey } from '../keys/ground.ts';
import { at } from '../secrets/ground.ts';

// More than one caller may have at work, and more than a process has connections.
const MANY = 30;
const FEW = 5;
const BATCHES = 40;
const LONG_CALLS = 12;

inEachProfile((system, { alice, bob, admin }) => {
  test('writes of a caller are answered while another imports into their own vault and writes there', async () => {
    await bob.createVault('loud');
    await alice.createVault('quiet');
    const content = JSON.stringify(Object.fromEntries(Array.from({ length: 300 }, (_, n) => [`k${n}`, 'v'])));
    const imported = bob.post('/vaults/loud/secrets:import', { format: 'json', content }).then(({ status }) => status);
    const written = writeMany(bob, 'loud', MANY);
    expect(countStatuses(await writeMany(alice, 'quiet', FEW))).toEqual({ 201: FEW });
    expect(await imported).toBe(200);
    expect(countStatuses(await written)).toEqual({ 201: MANY });
    expect(await countWrites('quiet')).toBe(FEW);
  });

  test('a write and a refreshed session wait for none of the many batches that another caller has sent before', async () => {
    await bob.createVault('flood');
    await alice.createVault('calm');
    const credentials = { username: 'alice', password: PASSWORD };
    const { body: session } = await system.stranger.post('/auth/login', credentials).expect(200);
    const secrets = Array.from({ length: 10 }, (_, n) => ({ name: `s${n}`, value: 'v' }));
    // SQLite has one writer. While it is held, all that comes waits.
    const [held, isHeld] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const holding = system.vault.db.transaction(async () => {
      isHeld.resolve();
      await held.promise;
    });
    await isHeld.promise;
    let answered = 0;
    const sent = Array.from({ length: BATCHES }, async () => {
      const { status } = await bob.post('/vaults/flood/secrets:batchWrite', { secrets });
      answered += 1;
      return { status };
    });
    await alice.get('/vaults/calm').expect(200);
    const others = [
      alice.put(at('calm', 's'), { value: 'v' }),
      system.stranger.post('/auth/refresh', { refresh_token: session.refresh_token as string }),
    ].map(async (call) => [(await call).status, answered] as const);
    await bob.get('/vaults/flood').expect(200);
    held.resolve();
    await holding;
    const [written, refreshed] = await Promise.all(others);
    expect([written![0], refreshed![0], countStatuses(await Promise.all(sent))]).toEqual([201, 200, { 200: BATCHES }]);
    expect(Math.max(written![1], refreshed![1])).toBeLessThan(BATCHES / 2);
    expect([await countWrites('calm'), await countWrites('flood')]).toEqual([1, BATCHES * secrets.length]);
  });

  // A statement of PostgreSQL leaves the event loop by itself.
  if (system.profile === 'mini') {
    test('many long calls of one caller make another wait no longer than one does', async () => {
      await bob.createVault('mill');
      await alice.createVault('desk');
      await makeKey(bob, 'mill', 'tokens', 'fernet');
      const ciphertext = await encrypt(bob, 'mill', 'tokens', { plaintextBase64: base64('x') });
      for (let version = 1; version < 20; version++) await bob.post(`${atKey('mill', 'tokens')}:rotate`).expect(200);
      const items = Array.from({ length: 500 }, () => ({ ciphertext }));
      const answered: number[] = [];
      const countCallsBeside = async () => {
        const begun = answered.length;
        const sent = Array.from({ length: LONG_CALLS }, async () => {
          const { status } = await bob.post(`${atKey('mill', 'tokens')}:decrypt`, { items });
          answered.push(status);
        });
        const names = Array.from({ length: 20 }, (_, n) => `s${n}`);
        let calls = 0;
        for (; answered.length < begun + LONG_CALLS; calls++) {
          const secrets = names.map((name) => ({ name, value: `v${calls}` }));
          await alice.post('/vaults/desk/secrets:batchWrite', { secrets }).expect(200);
          await alice.post('/vaults/desk/secrets:batchRead', { names }).expect(200);
        }
        await Promise.all(sent);
        return calls;
      };
      // Measured: 26 beside 12 long calls, 9 on a machine with five times the work, 4 when each step waited for all others.
      // Other work on the machine may take a try its turns, but not three in a row.
      let calls = 0;
      for (let tries = 0; tries < 3 && calls <= 6; tries++) calls = await countCallsBeside();
      expect(calls).toBeGreaterThan(6);
      expect(new Set(answered)).toEqual(new Set([200]));
      const batches = await admin.auditEntries({ vault: 'mill', action: 'key.decrypt' });
      expect(batches.map(({ event }) => event.resource?.count)).toEqual(answered.map(() => items.length));
    });
  }

  // SQLite has one writer: while a transaction is held there, nobody writes.
  if (system.profile === 'full') {
    const holders = [
      ['this process', () => system.vault.db],
      ['another process', () => system.openDatabase()],
    ] as const;
    test.each(holders)(
      'a caller who waits for a vault that %s holds keeps nobody else waiting',
      async (where, open) => {
        const [busy, free] = [`busy of ${where}`, `free of ${where}`].map((name) => name.replaceAll(' ', '-')) as [
          string,
          string,
        ];
        await bob.createVault(busy);
        await alice.createVault(free);
        const { body } = await bob.get(`/vaults/${busy}`).expect(200);
        const db = open();
        const [held, isHeld] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
        const holding = db.lockingTransaction({ exclusive: [vaultLock(body.id as string)] }, async (tx) => {
          await tx.query('select 1');
          isHeld.resolve();
          await held.promise;
        });
        await isHeld.promise;
        const waiting = writeMany(bob, busy, MANY);
        const written = writeMany(alice, free, FEW);
        const first = await Promise.race([waiting.then(() => 'bob'), written.then(() => 'alice')]);
        held.resolve();
        await Promise.all([holding, waiting]);
        if (db !== system.vault.db) await db.close();
        expect([first, countStatuses(await written)]).toEqual(['alice', { 201: FEW }]);
        expect(await countWrites(free)).toBe(FEW);
      },
    );
  }

  async function countWrites(vault: string): Promise<number> {
    return (await admin.auditEntries({ vault, action: 'secret.write', decision: 'allow' })).length;
  }
});

function writeMany(person: Person, vault: string, count: number): Promise<{ status: number }[]> {
  return Promise.all(Array.from({ length: count }, (_, n) => person.put(at(vault, `s${n}`), { value: 'v' })));
}
