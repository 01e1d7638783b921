import { createTestSystem } from '@cardea/testkit/system';
import { DAY_MS } from '@cardea/contracts/durations';
import { expect, test } from '@jest/globals';
import { at, eventsOf, query, storedVersions } from './ground.ts';

test.each(['mini', 'full'] as const)(
  'in profile %s, a secret that a sweep cannot destroy or announce does not delay the others, and the sweep fails',
  async (profile) => {
    await using system = await createTestSystem(profile);
    const alice = await system.as('alice');
    await alice.createVault('swept');
    const put = (name: string, days: number) =>
      alice.put(at('swept', name), { value: 'v', ttlSeconds: (days * DAY_MS) / 1_000 }).expect(201);
    // Listed by their expiry: the one that fails comes first.
    await put('soon-stuck', 30);
    await put('soon', 31);
    await put('ended-stuck', 10);
    await put('ended', 11);
    await alice.putSecret('swept', 'binned', 'v');
    await alice.delete(at('swept', 'binned')).expect(204);
    const rows = await query<{ id: string; name: string }>(system, 'select id, name from secret');
    const idOf = (wanted: string) => rows.find(({ name }) => name === wanted)!.id;
    const refusing = REFUSING[system.vault.db.engine];
    await query(system, refusing.announce(idOf('soon-stuck')));
    await query(system, refusing.destroy(idOf('ended-stuck')));

    system.passTime(29 * DAY_MS);
    const trashMs = system.vault.settings.trashMs;
    await query(system, `update secret set trashed_at = trashed_at - $1 where trashed_at is not null`, [trashMs]);
    await expect(system.runJob('secret.sweep', {})).rejects.toMatchObject({ message: expect.any(String) });
    expect(await storedVersions(system, 'swept', 'ended-stuck')).toEqual({ 1: true });
    expect(await storedVersions(system, 'swept', 'ended')).toEqual({ 1: false });
    expect(await storedVersions(system, 'swept', 'binned')).toEqual({});
    const told = (await eventsOf(system, 'swept')).map(({ kind, payload }) => [
      kind,
      (payload as { name: string }).name,
    ]);
    expect(told).toContainEqual(['secret.expiring', 'soon']);
    expect(told).toContainEqual(['secret.expired', 'ended']);
    expect(told).not.toContainEqual(['secret.expiring', 'soon-stuck']);
  },
);

// Each makes the database refuse one change of one secret.
const REFUSING = {
  sqlite: {
    announce: (id: string) => `create trigger no_announcement before update of announce_at on secret
      when new.id = '${id}' begin select raise(abort, 'refused'); end`,
    destroy: (id: string) => `create trigger no_destruction before update of ciphertext on secret_version
      when new.secret_id = '${id}' begin select raise(abort, 'refused'); end`,
  },
  postgres: {
    announce: (id: string) => `alter table secret add constraint no_announcement check (id <> '${id}') not valid`,
    destroy: (id: string) => `alter table secret_version add constraint no_destruction
      check (secret_id <> '${id}' or ciphertext is not null) not valid`,
  },
};
