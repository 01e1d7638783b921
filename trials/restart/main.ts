// Restarts everything of a real Cardea of profile full one by one, while clients use it through nginx with TLS, and adds
// a column while they do. No request may fail, except with a 503 that succeeds when it is repeated:
//   pnpm test:restart [rounds] [seed]
// If a promise is broken, it exits with 1, names the first one, and prints where it leaves the keys and the log.
import { setTimeout as sleep } from 'node:timers/promises';
import { MINUTE_MS, SECOND_MS } from '@cardea/contracts/durations';
import { randomSecret } from '@cardea/crypto/ids';
import { migrate, readMigrations } from '@cardea/storage/migrate';
import { openPostgres } from '@cardea/storage/postgres';
import { urlOf } from '@cardea/testkit/roles';
import { migrationsFolder } from '@cardea/vault/migrations';
import { runOn } from '../faults/run-on.ts';
import { startStack } from '../faults/stack.ts';
import type { Stack } from '../faults/stack.ts';
import { exportAuditLog } from '../kill/audit-export.ts';
import { checkAnswers } from '../kill/checks.ts';
import { Client } from '../kill/client.ts';
import { Ledger } from '../kill/ledger.ts';
import { startMix, VAULT } from '../load/mix.ts';
import { untilOutboxIsEmpty } from '../rotation/stored.ts';
import { sendPatiently } from './patience.ts';
import type { Repeated } from './patience.ts';

/** In the order that docs/upgrade.md asks for: audit-service first. */
const SERVICES = ['audit-service', 'kek-service', 'api-service', 'api-service-2', 'worker'];
const READY_WITHIN_MS = MINUTE_MS;
const BETWEEN_MS = SECOND_MS;
const CLIENTS = 16;
const PAUSE_MS = 20;

const [roundsWanted = '1', seed = randomSecret(6)] = process.argv.slice(2);
const rounds = Number(roundsWanted);
if (!Number.isInteger(rounds) || rounds < 1) {
  process.stderr.write('usage: pnpm test:restart [rounds] [seed]\n');
  process.exit(78);
}

say(`${rounds} rounds, seed ${seed}`);
await runOn('restart', startStack, runTrial);

async function runTrial(stack: Stack, folder: string): Promise<void> {
  const [ledger, session] = [new Ledger(), { token: '' }];
  const repeated: Repeated = { refused: new Map(), onClosed: 0, longestMs: 0 };
  const client = new Client(stack.connect(), ledger, session);
  await client.signIn(stack.full.password);
  await client.createVault(VAULT);
  const mix = startMix({
    clients: CLIENTS,
    seed,
    shares: { read: 80, list: 15 },
    pauseMs: PAUSE_MS,
    connect: stack.connect,
    createSend: (door) => sendPatiently(door, { ledger, session, repeated }),
  });
  const steps = [...Array.from({ length: rounds }, () => restartsOf(stack)).flat(), migrationOf(stack)];
  say(`${'what'.padEnd(26)}takes     2xx  503`);
  for (const { name, act } of steps) {
    await sleep(BETWEEN_MS);
    const [before, began] = [{ ...ledger.counts }, performance.now()];
    await Promise.race([act(), mix.ended]);
    const answered = (['reads', 'writes', 'others'] as const).reduce(
      (sum, kind) => sum + ledger.counts[kind] - before[kind],
      0,
    );
    const columns = [answered, ledger.counts.unavailable - before.unavailable]
      .map((n) => String(n).padStart(5))
      .join('');
    say(`${name.padEnd(24)}${inSeconds(performance.now() - began)} ${columns}`);
  }
  await sleep(BETWEEN_MS);
  await mix.stop();

  await client.signIn(stack.full.password);
  const db = stack.full.openDatabase();
  await untilOutboxIsEmpty(db);
  await db.close();
  const answers = [...ledger.answers];
  const entries = await exportAuditLog(client, { folder, dataDir: stack.full.dataDir, held: [] });
  checkAnswers(answers, entries);
  const { reads, writes, others, unavailable } = ledger.counts;
  const times = [...repeated.refused].toSorted(([a], [b]) => a - b).map(([n, requests]) => `${requests} ${n} times`);
  say(`
${writes} writes, ${reads} reads, ${others} others: each was answered, and each has its entry of ${entries.length}
${unavailable} answered 503 with Retry-After; requests that were repeated: ${times.join(', ') || 'none'}
${repeated.onClosed} sent again because nginx had closed the kept connection
the longest took ${inSeconds(repeated.longestMs)}, repetitions included`);
}

interface Step {
  name: string;
  act(): Promise<void>;
}

function restartsOf({ full, nginx }: Stack): Step[] {
  const services = SERVICES.map((name) => ({
    name,
    async act() {
      await full.processes.get(name)!.restart();
      await full.untilReady(READY_WITHIN_MS);
    },
  }));
  return [...services, { name: 'nginx, reloaded', act: () => nginx.reload() }];
}

/** What the migration of a later version would do: services of this version run on after it. */
function migrationOf({ full }: Stack): Step {
  const later = {
    name: '9999-later',
    sql: `alter table secret add column later text;
      alter table secret_version add column later bigint not null default 0;
      create index secret_later on secret (later);`,
  };
  return {
    name: 'a migration',
    async act() {
      const { postgres, names } = full.stores;
      const db = openPostgres(urlOf(postgres.url, 'migrate', names.api));
      await migrate(db, [...(await readMigrations(migrationsFolder, 'postgres')), later]);
      await db.close();
    },
  };
}

function inSeconds(ms: number): string {
  return `${(ms / SECOND_MS).toFixed(2)} s`;
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
