import type { EventPayload } from '@cardea/contracts/events';
import { addEvents } from '@cardea/vault/events/events';
import { DAY_MS, MINUTE_MS } from '@cardea/contracts/durations';
import { inEachProfile } from '@cardea/testkit/use-system';
import { beforeAll, expect, test } from '@jest/globals';
import { grant, newApplication } from '../access/granting.ts';

const namesOf = (body: { items: { payload: { name: string } }[] }) => body.items.map(({ payload }) => payload.name);

inEachProfile((system, { alice }) => {
  let vaultId: string;

  beforeAll(async () => {
    vaultId = await newVault('payments');
  });

  async function newVault(name: string): Promise<string> {
    await alice.createVault(name);
    return (await alice.get(`/vaults/${name}`).expect(200)).body.id as string;
  }

  const ending = (name: string): EventPayload<'secret.expiring'> => ({
    name,
    version: 1,
    expiresAt: system.now().toISOString(),
  });

  /** Announces an expiry as the sweep does. */
  async function announce(to: string, kind: 'secret.expiring' | 'secret.expired', name: string): Promise<void> {
    const event = { vaultId: to, kind, payload: ending(name), at: system.now().getTime() };
    await system.vault.db.transaction((tx) => addEvents(system.vault, tx, [event]));
  }

  test('events come newest first, page by page and by kind, and from one vault only', async () => {
    await newVault('other').then((id) => announce(id, 'secret.expired', 'of-another'));
    for (const name of ['a', 'b', 'c', 'd', 'e']) {
      await announce(vaultId, name === 'b' || name === 'd' ? 'secret.expired' : 'secret.expiring', name);
    }
    const all = await alice.get('/vaults/payments/events').expect(200);
    expect(namesOf(all.body)).toEqual(['e', 'd', 'c', 'b', 'a']);
    expect(all.body.nextCursor).toBeUndefined();
    expect(all.body.items[1]).toEqual({
      id: expect.any(String),
      kind: 'secret.expired',
      payload: { name: 'd', version: 1, expiresAt: expect.any(String) },
      createdAt: expect.any(String),
    });

    const pages: string[][] = [];
    let cursor: string | undefined;
    do {
      const search = new URLSearchParams({ limit: '2', ...(cursor ? { cursor } : {}) }).toString();
      const { body } = await alice.get(`/vaults/payments/events?${search}`).expect(200);
      pages.push(namesOf(body));
      cursor = body.nextCursor as string | undefined;
      // An event that is added meanwhile is newer than the next ones, so it does not appear between them.
      await announce(vaultId, 'secret.expiring', 'later');
    } while (cursor);
    expect(pages).toEqual([['e', 'd'], ['c', 'b'], ['a']]);

    const first = await alice.get('/vaults/payments/events?kind=secret.expired&limit=1').expect(200);
    expect(namesOf(first.body)).toEqual(['d']);
    const next = await alice.get(
      `/vaults/payments/events?kind=secret.expired&limit=1&cursor=${first.body.nextCursor as string}`,
    );
    expect([namesOf(next.body), next.body.nextCursor]).toEqual([['b'], undefined]);
    expect(namesOf((await alice.get('/vaults/payments/events?kind=secret.breakGlass').expect(200)).body)).toEqual([]);
    await alice.get('/vaults/payments/events?kind=secret.read').expect(400);
    await alice.get('/vaults/payments/events?kind=').expect(400);
  });

  test('owners and oversight see the events, and nobody else; each look is recorded', async () => {
    const admin = await system.as('admin');
    const agent = await newApplication(system, 'agent');
    const everySecretVerb = { secrets: ['list', 'read', 'write', 'delete', 'destroy', 'manage'] };
    for (const principal of ['user:bob', 'application:agent']) {
      await grant(alice, 'payments', principal, everySecretVerb).expect(201);
    }
    const outsider = await newApplication(system, 'outsider');
    const path = '/vaults/payments/events?limit=3';
    for (const person of [alice, admin, await system.as('carla')]) await person.get(path).expect(200);
    for (const person of [await system.as('bob'), agent]) await person.get(path).expect(403);
    await outsider.get(path).expect(404);
    await system.stranger.get(path).expect(401);

    const entries = await admin.auditEntries({ action: 'event.list', limit: '7' });
    expect(
      entries.toReversed().map(({ event }) => [event.decision, event.actor.name, event.rule, event.resource?.count]),
    ).toEqual([
      ['allow', 'alice', 'grant:owner', 3],
      ['allow', 'admin', 'role:admin', 3],
      ['allow', 'carla', 'role:ceo', 3],
      ['deny', 'bob', 'grant:vault.events', undefined],
      ['deny', 'agent', 'grant:vault.events', undefined],
      ['deny', 'outsider', 'default-deny', undefined],
      ['deny', undefined, 'no-token', undefined],
    ]);
    expect(entries.at(-1)!.event.resource).toEqual({ vault: 'payments', vaultId, count: 3 });
  });

  test('an event has the fields of its kind and nothing more, so no value gets into one', async () => {
    const at = system.now().getTime();
    const payload = { ...ending('a'), value: 'hunter2' };
    const written = system.vault.db.transaction((tx) =>
      addEvents(system.vault, tx, [{ vaultId, kind: 'secret.expiring', payload, at }]),
    );
    await expect(written).rejects.toMatchObject({ name: 'ZodError' });
  });

  // Last, because time does not go back.
  test('events are kept for 90 days', async () => {
    const id = await newVault('old');
    await announce(id, 'secret.expiring', 'older');
    system.passTime(MINUTE_MS);
    await announce(id, 'secret.expiring', 'newer');
    system.passTime(90 * DAY_MS - MINUTE_MS);
    const left = async () => namesOf((await (await system.as('alice')).get('/vaults/old/events').expect(200)).body);
    await system.runJob('event.sweep', {});
    expect(await left()).toEqual(['newer']);
    system.passTime(60_001);
    await system.runJob('event.sweep', {});
    expect(await left()).toEqual([]);
  });
});
