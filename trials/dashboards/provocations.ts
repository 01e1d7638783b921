import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'node:tls';
import { DEKS_AT_ONCE_MAX, unwrapDeks } from '@cardea/contracts/kek-api';
import { seal } from '@cardea/contracts/seal-api';
import { toBase64 } from '@cardea/crypto/encoding';
import { uuidv7 } from '@cardea/crypto/ids';
import { createClient } from '@cardea/http/client/peer-client';
import type { Client } from '@cardea/http/client/peer-client';
import { readTlsIdentity } from '@cardea/http/mtls';
import type { ServiceName } from '@cardea/http/mtls';
import { openPostgres } from '@cardea/storage/postgres';
import type { Db } from '@cardea/storage/db';
import { Person, Stranger } from '@cardea/testkit/person';
import type { FullStack } from './full-stack.ts';
import { PASSWORD, VAULT } from './load.ts';
import type { Load } from './load.ts';

/** Something that goes wrong on purpose, and what must be seen of it. */
export interface Provocation {
  what: string;
  /** The alerts that must be pending or firing. */
  alerts: string[];
  /** The queries of panels that give data then, and none before. */
  queries?: string[];
  act(stack: FullStack, load: Load): Promise<void>;
  /** Mends it, once it was seen. */
  mend?(stack: FullStack, load: Load): Promise<void>;
}

const SCRAPED_MS = 1_500;

/**
 * In this order: what cannot be mended comes last. An alert that needs hours, or a full disk of the host, is not here:
 * see `notProvoked`.
 */
export const provocations: Provocation[] = [
  {
    what: 'requests without a token and with a malformed one',
    alerts: ['CardeaDenials', 'CardeaSuspiciousInput'],
    queries: ['cardea-security 1 A', 'cardea-security 2 A'],
    async act({ url }) {
      const stranger = new Stranger(url);
      await inTurns(400, () => stranger.get(`/vaults/${VAULT}`));
      await inTurns(30, () => stranger.withToken('not.a.token').get(`/vaults/${VAULT}`));
    },
  },
  {
    what: 'a value is read by break-glass',
    alerts: ['CardeaBreakGlass'],
    async act({ url }, { admin }) {
      await admin.post('/users', { username: 'oversight', role: 'ceo', password: PASSWORD }).expect(201);
      const ceo = await Person.signIn(url, 'oversight', PASSWORD);
      await ceo.post(`/vaults/${VAULT}/secrets/s1:breakGlass`, { reason: 'a trial of the dashboards' }).expect(200);
    },
  },
  {
    what: 'connections to kek-service without a certificate',
    alerts: ['CardeaHandshakesRefused'],
    async act({ kekUrl }) {
      for (let count = 0; count < 15; count += 1) await connectWithoutCertificate(new URL(kekUrl));
    },
  },
  {
    what: 'a row of a vault is damaged, and its DEK rotates',
    alerts: ['CardeaRowsUnopened'],
    async act({ stores }, { admin }) {
      await admin.createVault('damaged');
      await admin.putSecret('damaged', 's', 'v');
      await using db = opened(stores.api);
      await db.query(
        `update secret_version
            set ciphertext = (select ciphertext
                                from secret_version
                               where vault_id = (select id from vault where name = $1)
                                 and ciphertext is not null
                               limit 1)
          where vault_id = (select id from vault where name = 'damaged')`,
        [VAULT],
      );
      await admin.post('/rotations', { kind: 'dek', vault: 'damaged' }).expect(202);
    },
  },
  {
    what: 'the audit log waits for its database',
    alerts: ['CardeaAuditSlow'],
    act: ({ stores }, { admin }) =>
      repeatedly(4, async () => {
        await Promise.all([lockTable(stores.audit, 'audit_head', 900), readMuch(admin)]);
        await sleep(200);
      }),
  },
  {
    what: 'the audit log cannot write',
    alerts: ['CardeaAuditFailing', 'CardeaErrorRate'],
    act: ({ stores }) => lockTable(stores.audit, 'audit_head', 9_000),
  },
  {
    what: 'the audit log does not answer',
    alerts: ['CardeaAuditUnavailable'],
    act: ({ pause }) => pause('audit-service', 10_000),
  },
  {
    what: 'all connections to PostgreSQL wait for a lock',
    alerts: ['CardeaPoolExhausted', 'CardeaLatency'],
    act: ({ stores }, { admin }) =>
      repeatedly(3, () => Promise.all([lockTable(stores.api, 'secret_version', 4_000), readMuch(admin)])),
  },
  {
    what: 'kek-service is sealed',
    alerts: ['CardeaSealed'],
    async act(stack) {
      await using operator = clientOf(stack, 'operator');
      await operator.call(seal, { body: {} });
    },
    // Its file opens the keyring at the start.
    mend: ({ restart }) => restart('kek-service'),
  },
  {
    what: 'somebody with the certificate of api-service unwraps the DEKs of many vaults',
    alerts: ['CardeaUnwrapsFrozen', 'CardeaAttackSigns'],
    async act(stack) {
      await using thief = clientOf(stack, 'api-service');
      for (let batch = 0; batch < 2; batch += 1) {
        const items = Array.from({ length: DEKS_AT_ONCE_MAX }, () => ({
          vaultId: uuidv7(Date.now()),
          dekVersion: 1,
          kekVersion: 1,
          wrappedDekBase64: toBase64(new Uint8Array(77)),
        }));
        await thief.call(unwrapDeks, { body: { items } }).then(
          () => Promise.reject(new Error('kek-service has unwrapped what nobody wrapped')),
          () => undefined,
        );
      }
    },
    async mend(_stack, { admin }) {
      await admin.post('/seals:unfreeze', { reason: 'a trial of the dashboards' }).expect(204);
    },
  },
  {
    what: 'a worker gets no CPU',
    alerts: ['CardeaEventLoopBlocked'],
    act: ({ pause }) =>
      // Shorter than the deadline of a scrape: the worker would answer a late one to nobody, and begin anew.
      repeatedly(10, async () => {
        await pause('worker', 800);
        await sleep(150);
      }),
  },
  {
    what: 'an api-service starts again and again',
    alerts: ['CardeaRestarting'],
    act: ({ restart }) =>
      repeatedly(3, async () => {
        await restart('api-service-2');
        await sleep(SCRAPED_MS);
      }),
  },
  {
    what: 'a table that jobs need is away',
    alerts: ['CardeaJobsFailing', 'CardeaWorkUnknown'],
    async act({ stores }) {
      await using db = opened(stores.api);
      await db.query('alter table outbox rename to outbox_away');
    },
    async mend({ stores }) {
      await using db = opened(stores.api);
      await db.query('alter table outbox_away rename to outbox');
    },
  },
  {
    what: 'there is no worker',
    alerts: ['CardeaServiceDown', 'CardeaReplicaDown'],
    act: ({ stopProcess }) => stopProcess('worker'),
  },
  {
    what: 'without a worker, a value has expired, a DEK is old, and records stay in the outbox',
    alerts: ['CardeaWorkLate', 'CardeaRotationLate', 'CardeaAuditBehind'],
    async act({ stores }, { admin }) {
      const kept = Promise.allSettled(
        [1, 2, 3].map((n) => admin.put(`/vaults/${VAULT}/secrets/kept${n}`, { value: 'v' })),
      );
      await lockTable(stores.audit, 'audit_head', 9_000);
      await kept;
      await using db = opened(stores.api);
      await db.query(`update secret_version set expires_at = 1000 where version = 1`);
      await db.query(`update dek set first_used_at = 1000 where state = 'active'`);
      await db.query('update outbox set created_at = created_at - 120000');
    },
  },
  { what: 'Redis is away', alerts: ['CardeaStoreDown'], act: ({ stores }) => stores.redis.stop() },
];

/** The alerts that only the tests of rules show firing, and why. */
export const notProvoked: Record<string, string> = {
  CardeaCheckpointSilent: 'needs 11 minutes without a checkpoint',
  CardeaEntriesUnsigned: 'needs 2 minutes without a checkpoint',
  CardeaRotationStuck: 'needs a rotation that does nothing for 30 minutes',
  CardeaCertificateExpires: 'needs a certificate that was not renewed for weeks',
  CardeaQueueStuck: 'needs 10 minutes without a run',
  CardeaDiskFull: 'needs a full disk',
  CardeaDiskFilling: 'needs hours',
};

/** Many reads at once: more than the pool has connections. */
async function readMuch(admin: Person): Promise<void> {
  await sleep(100);
  const reads = Array.from({ length: 60 }, (_, index) => admin.get(`/vaults/${VAULT}/secrets/s${index % 20}`));
  await Promise.allSettled(reads);
}

/** Keeps everybody else from a table for so long. */
async function lockTable(url: string, table: 'audit_head' | 'secret_version', ms: number): Promise<void> {
  await using db = opened(url);
  await db.transaction(async (tx) => {
    await tx.query(`lock table ${table} in access exclusive mode`);
    await sleep(ms);
  });
}

function opened(url: string): Db & AsyncDisposable {
  const db = openPostgres(url, { max: 1 });
  return Object.assign(db, { [Symbol.asyncDispose]: () => db.close() });
}

function clientOf({ kekUrl, tlsDir }: FullStack, name: ServiceName): Client & AsyncDisposable {
  const client = createClient({ url: kekUrl, peer: 'kek-service', identity: readTlsIdentity(tlsDir, name) });
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.close() });
}

// In TLS 1.3 the client has finished its handshake before the server refuses it.
async function connectWithoutCertificate({ hostname, port }: URL): Promise<void> {
  const socket = connect({ host: hostname, port: Number(port), rejectUnauthorized: false });
  socket.on('error', () => undefined);
  await new Promise((resolve) => socket.once('close', resolve));
}

async function inTurns(count: number, request: () => PromiseLike<unknown>): Promise<void> {
  for (let done = 0; done < count; done += 20) await Promise.all(Array.from({ length: 20 }, async () => request()));
}

async function repeatedly(times: number, work: () => Promise<unknown>): Promise<void> {
  for (let time = 0; time < times; time += 1) await work();
}
