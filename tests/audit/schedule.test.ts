import { inEachProfile } from '@cardea/testkit/use-system';
import { expect, test } from '@jest/globals';
import { expectEventually } from '../access/probes.ts';
import { at, eventsOf, query, storedVersions, untilAnswers } from '../secrets/ground.ts';

inEachProfile((system, { admin, alice }) => {
  test('the schedule does what is due, without any request', async () => {
    await alice.createVault('payments');
    await alice.put(at('payments', 'ended'), { value: 'v', ttlSeconds: 1 }).expect(201);
    await system.stopService('audit');
    await alice.post('/vaults', { name: 'unrecorded' }).expect(503);
    await system.startService('audit');
    await untilAnswers(alice);
    // Past by every clock, because the worker uses the real one.
    system.passTime(1_000);
    await query(system, 'update secret set due_at = due_at - 1000');
    await query(system, 'update secret_version set expires_at = expires_at - 1000');
    await query(system, 'update outbox set created_at = created_at - 11000');

    await system.restart();
    expect(await done()).toEqual({ destroyed: false, told: [], recorded: 0 });
    system.keepsSchedule = true;
    await system.restart();
    await expectEventually(async () => {
      expect(await done()).toEqual({ destroyed: true, told: ['secret.expired'], recorded: 1 });
    });
  });

  async function done() {
    await system.as('admin');
    const [versions, events] = [await storedVersions(system, 'payments', 'ended'), await eventsOf(system, 'payments')];
    const recorded = await admin.auditEntries({ action: 'vault.create', vault: 'unrecorded' });
    return { destroyed: versions[1] === false, told: events.map(({ kind }) => kind), recorded: recorded.length };
  }
});
