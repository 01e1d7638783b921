import { startPostgres, startRedis } from './servers.ts';

interface Stoppable {
  stop(): Promise<void>;
}

declare global {
  /** Shared with the global teardown, which jest loads separately. */
  var cardeaTestServers: Stoppable[] | undefined;
}

/**
 * Starts one PostgreSQL and one Redis for the whole run, and puts their URLs into the environment, which jest's workers
 * inherit. If the environment already has a URL, that server is used. If a server cannot start, the tests that need it
 * fail and the others run.
 */
export default async function startTestServers(): Promise<void> {
  globalThis.cardeaTestServers = [];
  await Promise.all([provide('CARDEA_TEST_POSTGRES_URL', startPostgres), provide('CARDEA_TEST_REDIS_URL', startRedis)]);
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
