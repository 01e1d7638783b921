import { mkdir, rm, rmdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { withCause } from '@cardea/process/cause';
import { refuseUnfinishedRestore } from '@cardea/process/data-folder';

import { CannotStart, errorCode } from './cannot-start.ts';
import { lockDataFolder } from './data-folder-lock.ts';

/** An address that a process of Cardea will listen on. */
export interface ListenAddress {
  host: string;
  port: number;
}

const earliestTime = new Date('2026-01-01T00:00:00Z');
// The services of a killed supervisor may need this long to notice, finish their work and end.
const leftoverPatienceMs = 10_000;
const retryMs = 100;

/**
 * Checks everything that Cardea needs from this machine before anything is started, and locks the data folder for this
 * process. Returns a function that releases the lock.
 *
 * @throws CannotStart for the first problem.
 */
export async function checkBeforeStart(wanted: {
  dataDir: string;
  addresses: ListenAddress[];
  now: Date;
}): Promise<() => void> {
  checkClock(wanted.now);
  const { isNew } = await prepareDataFolder(wanted.dataDir);
  // Before the lock, which a restore under way holds: it is no running Cardea. And after it, when none can begin.
  refuseRestoring(wanted.dataDir);
  const lock = lockDataFolder(wanted.dataDir);
  try {
    refuseRestoring(wanted.dataDir);
    await checkAddresses(wanted.addresses, lock.isTakenOver ? leftoverPatienceMs : 0);
  } catch (error) {
    lock.release();
    if (isNew) await rmdir(wanted.dataDir);
    throw error;
  }
  return lock.release;
}

/** @throws CannotStart if `now` is before this version of Cardea existed, as on a machine without a clock battery. */
export function checkClock(now: Date): void {
  if (now >= earliestTime) return;
  throw new CannotStart(
    `the clock says ${now.toISOString()}, and tokens, certificates and the audit log need the right time: ` +
      'set the clock of this machine',
  );
}

/** Makes the folder if it does not exist. @throws CannotStart if it cannot be made or written to. */
export async function prepareDataFolder(dataDir: string): Promise<{ isNew: boolean }> {
  const probe = join(dataDir, '.write-check');
  try {
    const made = await mkdir(dataDir, { recursive: true, mode: 0o700 });
    await writeFile(probe, 'x');
    await rm(probe);
    return { isNew: made !== undefined };
  } catch (error) {
    throw new CannotStart(
      `${withCause(`the data folder ${dataDir} cannot be written to`, error)}, or set CARDEA_DATA_DIR to another folder`,
      { cause: error },
    );
  }
}

function refuseRestoring(dataDir: string): void {
  try {
    refuseUnfinishedRestore(dataDir);
  } catch (cause) {
    throw new CannotStart((cause as Error).message, { cause });
  }
}

/**
 * Listens on each address for a moment. If a port is in use, tries again for `patienceMs`.
 *
 * @throws CannotStart for the first address that is not free.
 */
export async function checkAddresses(addresses: ListenAddress[], patienceMs: number): Promise<void> {
  const deadline = performance.now() + patienceMs;
  for (const address of addresses) {
    let error = await tryToListen(address);
    while (errorCode(error) === 'EADDRINUSE' && performance.now() < deadline) {
      await delay(retryMs);
      error = await tryToListen(address);
    }
    if (error) throw new CannotStart(refusal(address, errorCode(error)), { cause: error });
  }
}

function tryToListen({ host, port }: ListenAddress): Promise<Error | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', resolve);
    server.listen({ host, port, exclusive: true }, () => server.close(resolve));
  });
}

function refusal({ host, port }: ListenAddress, code: string | undefined): string {
  if (code === 'EADDRINUSE') {
    return `port ${port} is in use by another program: stop it, or set CARDEA_PORT to another port (Cardea uses ports up to 12 above it)`;
  }
  if (code === 'EACCES') {
    return `this user may not listen on port ${port}: set CARDEA_PORT to a port above 1023`;
  }
  return `Cardea cannot listen on ${host}, port ${port} (${code}): set CARDEA_HOST to an address of this machine`;
}
