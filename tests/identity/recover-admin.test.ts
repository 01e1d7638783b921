import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { MINUTE_MS } from '@cardea/contracts/durations';
import { inEachProfile } from '@cardea/testkit/use-system';
import type { TestSystem } from '@cardea/testkit/system';
import { PASSWORD } from '@cardea/testkit/system';
import { expect, test } from '@jest/globals';
import { createUser, signIn, turnOnTotp } from './identity.ts';

const main = fileURLToPath(import.meta.resolve('@cardea/api-service/recover-admin-main'));

inEachProfile((system) => {
  test('a user who cannot sign in becomes an admin by a command on the server, and the log gets its record', async () => {
    await createUser(system, { username: 'lost', role: 'ceo', password: PASSWORD, ttlSeconds: 3_600 });
    const { person } = await signIn(system, { username: 'lost' });
    await turnOnTotp(system, person);
    const admin = await system.as('admin');
    await admin.patch('/users/lost', { disabled: true }).expect(200);

    const { code, out } = await whileStopped(system, () => recover(['lost'], system.environment('api')));
    expect([code, out]).toEqual([0, expect.stringMatching(/^[A-Za-z0-9_-]{16}\n$/)]);
    const found = await signIn(system, { username: 'lost', password: out.trim() });
    await system.stranger.withToken(person.token).get('/auth/me').expect(401);
    await found.person.get('/users').expect(403);
    const chosen = { currentPassword: out.trim(), newPassword: `${PASSWORD} again` };
    await found.person.post('/auth/password', chosen).expect(204);
    const { body } = await found.person.get('/users/lost').expect(200);
    expect(body).toMatchObject({ role: 'admin', disabled: false, totp: false, mustChangePassword: false });
    expect(body).not.toHaveProperty('expiresAt');

    // The relay leaves rows alone that a request may still be sending.
    system.passTime(MINUTE_MS);
    await system.runJob('outbox.relay', {});
    const [entry, ...more] = await (await system.as('admin')).auditEntries({ action: 'user.recover' });
    expect(more).toEqual([]);
    expect(entry!.event).toMatchObject({
      decision: 'allow',
      rule: 'offline-recovery',
      actor: { id: 'operator', type: 'service' },
      resource: { user: 'lost' },
      changes: {
        role: { from: 'ceo', to: 'admin' },
        disabled: { from: true, to: false },
        expiresAt: { from: expect.any(String) },
        totp: { from: true, to: false },
      },
    });
  });

  test('a name that nobody has, a wrong call and another folder change nothing, and say what to do', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'cardea-recover-'));
    const environment = system.environment('api');
    await whileStopped(system, async () => {
      const unknown = await recover(['nobody'], environment);
      expect(unknown).toMatchObject({ code: 78, out: '', err: expect.stringContaining('admins are: admin, ') });
      for (const wrong of [[], ['alice', 'bob']]) {
        const refused = await recover(wrong, environment);
        expect(refused).toMatchObject({ code: 78, out: '', err: expect.stringContaining('usage: pnpm recover-admin') });
      }
      const elsewhere = await recover(['alice'], { CARDEA_DATA_DIR: folder });
      expect(elsewhere).toMatchObject({ code: 78, out: '', err: expect.stringContaining('set CARDEA_DATA_DIR') });
    });
    await rm(folder, { recursive: true });
    const { body } = await (await system.as('admin')).get('/users/alice').expect(200);
    expect(body).toMatchObject({ role: 'developer', mustChangePassword: false });
  });

  test('a recovered first admin has no file with a first password any more', async () => {
    const file = join(system.environment('api')['CARDEA_DATA_DIR']!, 'initial-admin-password');
    expect(existsSync(file)).toBe(true);
    const { code } = await whileStopped(system, () => recover(['admin'], system.environment('api')));
    expect([code, existsSync(file)]).toEqual([0, false]);
  });

  if (system.profile === 'mini') {
    test('the file of a running Cardea is left alone', async () => {
      const refused = await recover(['alice'], system.environment('api'));
      expect(refused).toMatchObject({ code: 78, out: '', err: expect.stringContaining('stop that process first') });
    });
  }
});

/** Profile full needs no stop. */
async function whileStopped<T>(system: TestSystem, work: () => Promise<T>): Promise<T> {
  if (system.profile === 'full') return work();
  await system.stopService('api');
  try {
    return await work();
  } finally {
    await system.startService('api');
  }
}

async function recover(
  args: string[],
  environment: NodeJS.ProcessEnv,
): Promise<{ code: number; out: string; err: string }> {
  const command = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', main, ...args], {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [out, err, [code]] = await Promise.all([text(command.stdout), text(command.stderr), once(command, 'exit')]);
  return { code: code as number, out, err };
}
