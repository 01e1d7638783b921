import { setTimeout as sleep } from 'node:timers/promises';
import { MINUTE_MS } from '@cardea/contracts/durations';
import type { Entry, Person } from '@cardea/testkit/person';
import { inEachProfile } from '@cardea/testkit/use-system';
import { expect, test } from '@jest/globals';
import { expectEventually } from '../access/probes.ts';
import { countStatuses } from '../identity/identity.ts';
import { untilAnswers } from '../secrets/ground.ts';

const CALLS = 5;

inEachProfile((system, { alice, admin }) => {
  // In mini, more records together than may wait for the log. PostgreSQL takes several times as long for each.
  const SECRETS = system.profile === 'mini' ? 990 : 300;

  test(
    'imports and exports with more records than may wait at once are all answered, and so are the calls of others',
    async () => {
      for (const vault of ['bulk', 'other']) await alice.createVault(vault);
      await alice.putSecret('other', 's', 'v');
      const imports = Array.from({ length: CALLS }, (_, n) =>
        patiently(() => alice.post('/vaults/bulk/secrets:import', { format: 'json', content: document(n, SECRETS) })),
      );
      const imported = Promise.all(imports);
      const isDone = { yet: false };
      void imported.finally(() => (isDone.yet = true));
      const reads: { status: number }[] = [];
      while (!isDone.yet) {
        reads.push(await alice.get('/vaults/other/secrets/s'));
        await sleep(20);
      }
      expect(countStatuses(await imported)).toEqual({ 200: imports.length });

      const exports = Array.from({ length: CALLS }, (_, n) =>
        patiently(() => alice.post('/vaults/bulk/secrets:export', { format: 'json', prefix: `t${n}` })),
      );
      reads.push(await alice.get('/vaults/other/secrets/s'));
      expect(countStatuses(await Promise.all(exports))).toEqual({ 200: exports.length });
      expect(Object.keys(countStatuses(reads))).toEqual(['200']);

      // Every secret has one record. What was told to come back has none of an allowed call.
      for (const action of ['secret.write', 'secret.read']) {
        let count = 0;
        for await (const { event } of admin.newestEntries({ vault: 'bulk', action })) {
          expect(event.decision).toBe('allow');
          count += 1;
        }
        expect([action, count]).toEqual([action, imports.length * SECRETS]);
      }
      const denied = await admin.auditEntries({ vault: 'bulk', decision: 'deny' });
      expect(denied.filter(({ event }) => event.rule !== 'bulk-turns' && event.rule !== 'under-way')).toEqual([]);
    },
    5 * MINUTE_MS,
  );

  test(
    'an export of which the log has taken only some records is recorded as one that showed nothing',
    async () => {
      await alice.createVault('cut');
      await alice.post('/vaults/cut/secrets:import', { format: 'json', content: document(0, SECRETS) }).expect(200);
      const log = system.openDatabase('audit');
      const countEntries = async () => (await log.query<{ n: number }>('select count(*) as n from audit_entry'))[0]!.n;
      // The log stops while it takes the records. It may have taken all of them or none by then: so again.
      let shown = 0;
      while ((await exportsOf(admin, 'allow')).length === shown) {
        const before = await countEntries();
        const exported = alice.post('/vaults/cut/secrets:export', { format: 'json' }).then(({ status }) => status);
        while ((await countEntries()) === before) await new Promise((resolve) => setImmediate(resolve));
        await system.stopService('audit');
        if ((await exported) === 200) shown += 1;
        await system.startService('audit');
        await untilAnswers(admin);
      }
      await log.close();
      system.passTime(15_000);
      // A timer writes it into the outbox if the database did not answer at once.
      await expectEventually(async () => {
        await system.runJob('outbox.relay', {});
        const failed = (await exportsOf(admin, 'deny')).filter(({ event }) => event.rule === 'records-missing');
        expect(failed[0]?.event).toMatchObject({
          actor: { name: 'alice' },
          resource: { vault: 'cut', count: SECRETS },
        });
      });
    },
    5 * MINUTE_MS,
  );
});

function exportsOf(by: Person, decision: string): Promise<Entry[]> {
  return by.auditEntries({ vault: 'cut', action: 'secret.export', decision, limit: '50' });
}

/** Calls again as often as the answer is to come back later, as clients do. */
async function patiently(call: () => ReturnType<Person['post']>): Promise<{ status: number }> {
  for (;;) {
    const answer = await call();
    if (answer.status !== 429) return answer;
    await sleep(Number(answer.get('Retry-After')) * 1000);
  }
}

function document(n: number, count: number): string {
  return JSON.stringify(Object.fromEntries(Array.from({ length: count }, (_, i) => [`t${n}/k${i}`, `v${n}`])));
}
