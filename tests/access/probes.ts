import { connect } from 'node:net';
import type { Caller, Role } from '@cardea/contracts/caller';
import type { Person } from '@cardea/testkit/person';
import { createClient } from '@cardea/http/client/peer-client';
import type { Client } from '@cardea/http/client/peer-client';
import { readTlsIdentity } from '@cardea/http/mtls';
import type { ServiceName } from '@cardea/http/mtls';
import type { TestSystem } from '@cardea/testkit/system';
import { expect } from '@jest/globals';

/** A person who has signed in, as the functions of `vault` see them. */
export async function callerOf(person: Person): Promise<Caller> {
  const { body: me } = await person.get('/auth/me').expect(200);
  const { body: sessions } = await person.get('/auth/sessions').expect(200);
  const session = sessions.items[0].id as string;
  const { id, name, role } = me as { id: string; name: string; role: Role };
  return { actor: { id, type: 'user', name, session }, role, source: {}, requestId: crypto.randomUUID() };
}

/** Repeats `check` until it passes. @throws its last error after `withinMs`, which no machine is too slow for */
export async function expectEventually(check: () => Promise<void>, withinMs = 60_000): Promise<void> {
  const giveUpAt = Date.now() + withinMs;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() > giveUpAt) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** What api-service says is missing. */
export async function readiness(system: TestSystem): Promise<{ status: number; failed: string[] }> {
  const answer = await fetch(`${system.opsUrl}/readyz`);
  const { failed } = (await answer.json()) as { failed: string[] };
  return { status: answer.status, failed };
}

/** What api-service says it goes on without. */
export async function degraded(system: TestSystem): Promise<string[]> {
  const answer = await fetch(`${system.opsUrl}/readyz`);
  return ((await answer.json()) as { degraded: string[] }).degraded;
}

/** Health on both ports, whatever is missing. */
export async function expectAlive(system: TestSystem): Promise<void> {
  for (const url of [system.url, system.opsUrl]) expect((await fetch(`${url}/healthz`)).status).toBe(200);
}

/** Makes api-service ask kek-service again for every DEK. */
export async function forgetDeks(system: TestSystem): Promise<void> {
  await system.stopService('api');
  await system.startService('api');
}

/** Calls a service with the certificate of another one, made in `tlsDir` or else that of the system. */
export async function callAs<T>(
  system: TestSystem,
  { name, peer, tlsDir }: { name: ServiceName; peer: 'kek-service' | 'audit-service'; tlsDir?: string },
  call: (client: Client) => Promise<T>,
): Promise<T> {
  const { CARDEA_KEK_URL, CARDEA_AUDIT_URL, CARDEA_TLS_DIR } = system.environment('api');
  const url = (peer === 'kek-service' ? CARDEA_KEK_URL : CARDEA_AUDIT_URL) ?? '';
  const client = createClient({ url, peer, identity: readTlsIdentity(tlsDir ?? CARDEA_TLS_DIR ?? '', name) });
  try {
    return await call(client);
  } finally {
    await client.close();
  }
}

/** Resolves once nothing listens there. */
export async function expectNoListener(url: string): Promise<void> {
  await expectEventually(async () => {
    expect(await canConnect(url)).toBe(false);
  });
}

function canConnect(url: string): Promise<boolean> {
  const { port, hostname } = new URL(url);
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname);
    socket.on('connect', () => socket.destroy());
    socket.on('error', () => resolve(false));
    socket.on('close', () => resolve(true));
  });
}
