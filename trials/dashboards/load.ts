import { setTimeout as sleep } from 'node:timers/promises';
import { Person } from '@cardea/testkit/person';

/** The vault that the load uses. */
export const VAULT = 'load';
export const PASSWORD = 'correct horse battery staple';

const CLIENTS = 8;
const PAUSE_MS = 60;
const SECRETS = 20;
// A token may be used for 5 minutes.
const SIGN_IN_AGAIN_MS = 4 * 60_000;

/** Clients that read, list, write and encrypt until they are stopped. They go on after an answer of any kind. */
export interface Load {
  admin: Person;
  /** How many answers there were, by status. */
  statuses: Map<number, number>;
  stop(): Promise<void>;
}

export async function startLoad(url: string, password: string): Promise<Load> {
  const admin = await Person.signIn(url, 'admin', password);
  await admin.createVault(VAULT);
  for (let index = 0; index < SECRETS; index += 1) await admin.putSecret(VAULT, `s${index}`, `value ${index}`);
  const keys = `/vaults/${VAULT}/keys`;
  await admin.post(keys, { name: 'k', algorithm: 'aes-256-gcm' }).expect(201);
  const statuses = new Map<number, number>();
  const stopping = new AbortController();
  const note = (status: number) => statuses.set(status, (statuses.get(status) ?? 0) + 1);

  async function client(index: number): Promise<void> {
    for (let turn = index; !stopping.signal.aborted; turn += 1) {
      const secret = `/vaults/${VAULT}/secrets/s${turn % SECRETS}`;
      try {
        if (turn % 10 === 0) note((await admin.put(secret, { value: `value ${turn} of ${index}` })).status);
        else if (turn % 10 === 1) note((await admin.get(`/vaults/${VAULT}/secrets?limit=10`)).status);
        else if (turn % 10 === 2) note((await admin.post(`${keys}/k:encrypt`, { plaintextBase64: 'AAAA' })).status);
        else note((await admin.get(secret)).status);
      } catch {
        // A cut connection counts as no answer. The trial stops services on purpose.
        note(0);
      }
      await sleep(PAUSE_MS);
    }
  }

  async function stayedSignedIn(): Promise<void> {
    while (!stopping.signal.aborted) {
      await sleep(SIGN_IN_AGAIN_MS, undefined, { signal: stopping.signal }).catch(() => undefined);
      if (!stopping.signal.aborted) admin.continueAs(await Person.signIn(url, 'admin', password));
    }
  }

  const clients = [...Array.from({ length: CLIENTS }, (_, index) => client(index)), stayedSignedIn()];
  return {
    admin,
    statuses,
    async stop() {
      stopping.abort();
      await Promise.all(clients);
    },
  };
}
