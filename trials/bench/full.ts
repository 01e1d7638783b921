import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Db } from '@cardea/storage/db';
import { startLink } from '../faults/link.ts';
import type { Link } from '../faults/link.ts';
import { startFull } from '../rotation/full.ts';
import type { FullOptions } from '../rotation/full.ts';
import { startMini } from '../rotation/installation.ts';
import type { Installation } from '../rotation/installation.ts';
import { measure } from './load.ts';
import type { Measured } from './load.ts';
import { prepare } from './prepare.ts';

const ROUNDS = 3;

/** What an installation answers, and how many transactions its database rolled back meanwhile, the warm-up included. */
interface Figures extends Measured {
  rollbacks: number;
}

/* eslint-disable no-console -- a command prints its table */
/**
 * Measures profile full beside profile mini in the same run, with PostgreSQL on the same machine and fsync on. Both are
 * measured in turns, because the speed of a shared machine drifts. The round with the median ratio counts.
 */
export async function measureFull(): Promise<void> {
  const seconds = Number(process.argv[3] ?? 4);
  const connectionCounts = (process.argv[4] ?? '1,64').split(',').map(Number);
  const apis = process.argv[5] === '2' ? 2 : 1;
  const delayMs = Number(process.argv[6] ?? 0);
  const folders = [0, 1].map(() => mkdtempSync(join(tmpdir(), 'cardea-bench-')));
  const mini = await startMini(folders[0]!);
  // Not at the same time: each looks for free ports.
  await mini.untilReady(60_000);
  const far = delayMs === 0 ? undefined : farFromPostgres(delayMs);
  const full = await startFull(folders[1]!, { durable: true, apis, ...(far && { via: far.via }) });
  const db = full.openDatabase();
  try {
    const miniToken = await prepare(mini);
    const fullToken = await prepare(full);
    const distance = delayMs === 0 ? '' : `, and PostgreSQL ${delayMs} ms away in each direction`;
    console.log(`profile full with ${apis} api-service${apis === 1 ? '' : 's'}${distance}`);
    console.log('\n| connections | what | requests/s | p50 ms | p99 ms | of mini | rollbacks in 100 requests |');
    console.log('|---|---|---|---|---|---|---|');
    for (const connections of connectionCounts) {
      for (const writes of [false, true]) {
        const load = { connections, seconds, writes };
        const rounds: { inMini: Measured; inFull: Figures }[] = [];
        for (let round = 0; round < ROUNDS; round += 1) {
          const inMini = await measure({ ...load, url: secretOf(mini.url), token: miniToken });
          rounds.push({ inMini, inFull: await measureCounting(db, full.urls, { ...load, token: fullToken }) });
        }
        print(connections, writes ? 'writes' : 'reads', medianOf(rounds));
      }
    }
  } finally {
    await db.close();
    await stopAll([mini, full]);
    await far?.stop();
    for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  }
}

/** PostgreSQL on the other side of a network. */
function farFromPostgres(delayMs: number): { via: NonNullable<FullOptions['via']>; stop(): Promise<void> } {
  const links: Link[] = [];
  return {
    async via(peer, address) {
      if (peer !== 'PostgreSQL') return address;
      const link = await startLink(address);
      link.delay(delayMs);
      links.push(link);
      return link.address;
    },
    async stop() {
      for (const link of links) await link.stop();
    },
  };
}

function secretOf(url: string): string {
  return `${url}/api/v1/vaults/bench/secrets/db/password`;
}

interface FullLoad {
  connections: number;
  seconds: number;
  writes: boolean;
  token: string;
}

/** Spreads the connections over the api-services. */
async function measureCounting(db: Db, urls: readonly string[], load: FullLoad): Promise<Figures> {
  const before = await countRollbacks(db);
  const connections = Math.max(1, Math.round(load.connections / urls.length));
  const parts = await Promise.all(urls.map((url) => measure({ ...load, url: secretOf(url), connections })));
  const after = await countRollbacks(db);
  return {
    perSecond: parts.reduce((sum, { perSecond }) => sum + perSecond, 0),
    p50Ms: Math.max(...parts.map(({ p50Ms }) => p50Ms)),
    p99Ms: Math.max(...parts.map(({ p99Ms }) => p99Ms)),
    sent: parts.reduce((sum, { sent }) => sum + sent, 0),
    rollbacks: after - before,
  };
}

async function countRollbacks(db: Db): Promise<number> {
  const [row] = await db.query<{ rollbacks: number }>(
    `select xact_rollback as rollbacks
       from pg_stat_database
      where datname = current_database()`,
  );
  return row!.rollbacks;
}

function medianOf<T extends { inMini: Measured; inFull: Measured }>(rounds: T[]): T {
  const ratio = ({ inMini, inFull }: T) => inFull.perSecond / inMini.perSecond;
  return rounds.toSorted((a, b) => ratio(a) - ratio(b))[Math.floor(rounds.length / 2)]!;
}

function print(connections: number, what: string, { inMini, inFull }: { inMini: Measured; inFull: Figures }): void {
  const row = (profile: string, { perSecond, p50Ms, p99Ms }: Measured, rest: string) =>
    console.log(`| ${connections} | ${what}, ${profile} | ${Math.round(perSecond)} | ${p50Ms} | ${p99Ms} | ${rest} |`);
  row('mini', inMini, '1 | ');
  const rolledBack = ((inFull.rollbacks / inFull.sent) * 100).toFixed(1);
  row('full', inFull, `${(inFull.perSecond / inMini.perSecond).toFixed(2)} | ${rolledBack}`);
}

async function stopAll(installations: Installation[]): Promise<void> {
  for (const installation of installations) await installation.stop();
}
