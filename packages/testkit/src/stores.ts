import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { emptyTestRedis, testDatabase } from './servers.ts';

/** The data folder and the databases of a new test system. They are empty except for the certificates. */
export interface Stores extends AsyncDisposable {
  dataDir: string;
  tlsDir: string;
  /** The URLs of the databases. Undefined in profile mini. */
  databases: { api: string; audit: string; redis: string } | undefined;
}

export async function makeStores(profile: 'mini' | 'full'): Promise<Stores> {
  const dataDir = await mkdtemp(join(tmpdir(), 'cardea-system-'));
  const tlsDir = join(dataDir, 'tls');
  const [databases] = await Promise.all([profile === 'full' ? makeDatabases() : undefined, makeCertificates(tlsDir)]);
  return {
    dataDir,
    tlsDir,
    databases,
    [Symbol.asyncDispose]: () => rm(dataDir, { recursive: true, force: true }),
  };
}

async function makeDatabases(): Promise<Stores['databases']> {
  const [api, audit, redis] = await Promise.all([testDatabase(), testDatabase(), emptyTestRedis()]);
  return { api, audit, redis };
}

/**
 * Copies the certificates that jest's global setup has made, because making them takes longer than the rest of a start.
 */
async function makeCertificates(tlsDir: string): Promise<void> {
  const made = process.env['CARDEA_TEST_TLS_DIR'];
  if (made !== undefined) return cp(made, tlsDir, { recursive: true });
  const { ensureCertificates } = await import('@cardea/deploy/certificates');
  await ensureCertificates(tlsDir, new Date());
}
