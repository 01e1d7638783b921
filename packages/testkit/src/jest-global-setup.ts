import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureCertificates } from '@cardea/deploy/certificates';
import { makeTemplates } from './roles.ts';
import { startPostgres, startRedis } from './servers.ts';

interface Stoppable {
  stop(): Promise<void>;
}

declare global {
  /** Shared with the global teardown, which jest loads separately. */
  var cardeaTestServers: Stoppable[] | undefined;
}

/**
 * Starts one PostgreSQL and one Redis for the whole run and makes certificates for its systems. Puts their URLs and the
 * folder of the certificates into the environment, which jest's workers inherit. If a variable is set already, its
 * value is used. If a server cannot start, the tests that need it fail and the others run.
 */
export default async function startTestServers(): Promise<void> {
  globalThis.cardeaTestServers = [];
  // Many tests start commands. Node keeps their code stripped and compiled here, as the start command lets it.
  process.env['NODE_COMPILE_CACHE'] ??= fileURLToPath(
    new URL('../../../node_modules/.cache/cardea-compile', import.meta.url),
  );
  await Promise.all([
    provide('CARDEA_TEST_POSTGRES_URL', startPostgres).then(provideTemplates),
    provide('CARDEA_TEST_REDIS_URL', startRedis),
    provide('CARDEA_TEST_TLS_DIR', makeCertificates),
  ]);
}

async function provide(variable: string, start: () => Promise<Stoppable & { url: string }>): Promise<void> {
  if (process.env[variable]) return;
  try {
    const server = await start();
    globalThis.cardeaTestServers?.push(server);
    process.env[variable] = server.url;
  } catch (error) {
    process.stderr.write(`${variable} is not set, and tests that need it will fail: ${String(error)}\n`);
  }
}

/** Makes the roles of profile full, and databases that each system copies instead of migrating its own. */
async function provideTemplates(): Promise<void> {
  const url = process.env['CARDEA_TEST_POSTGRES_URL'];
  if (url === undefined) return;
  try {
    process.env['CARDEA_TEST_POSTGRES_TEMPLATES'] = JSON.stringify(await makeTemplates(url));
  } catch (error) {
    process.stderr.write(`there are no databases for profile full, and its tests will fail: ${String(error)}\n`);
  }
}

async function makeCertificates(): Promise<Stoppable & { url: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'cardea-certificates-'));
  await ensureCertificates(folder, new Date());
  return { url: folder, stop: () => rm(folder, { recursive: true, force: true }) };
}
