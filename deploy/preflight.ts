import { mkdir, rm, rmdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { CannotStart, errorCode } from './cannot-start.ts';
import { lockDataFolder } from './data-folder-lock.ts';

/** An address that a process of this start is going to listen on. */
export interface ListenAddress {
  host: string;
  port: number;
}

const earliestTime = new Date('2026-01-01T00:00:00Z');
// As long as the services of a supervisor that was killed may take to notice, finish what they do and end.
const leftoverPatienceMs = 10_000;
const retryMs = 100;

/**
 * Looks at everything this machine must offer before anything is started, and takes the data folder for this process.
 * Returns the function that gives the folder back.
 *
 * @throws CannotStart at the first thing that is missing.
 */
export async function checkBeforeStart(wanted: {
  dataDir: string;
  addresses: ListenAddress[];
  now: Date;
}): Promise<() => void> {
  checkClock(wanted.now);
  const { isNew } = await prepareDataFolder(wanted.dataDir);
  const lock = lockDataFolder(wanted.dataDir);
  try {
    await checkAddresses(wanted.addresses, lock.leftByAnother ? leftoverPatienceMs : 0);
  } catch (error) {
    lock.release();
    if (isNew) await rmdir(wanted.dataDir);
    throw error;
  }
  return lock.release;
}

/** @throws CannotStart if `now` is before this version of Cardea existed, as on a board without a battery. */
export function checkClock(now: Date): void {
  if (now >= earliestTime) return;
  throw new CannotStart(
    `the clock says ${now.toISOString()}, and with a wrong clock tokens, certificates and the audit log would be wrong: ` +
      'set the clock of this machine',
  );
}

/** Makes the folder if it is missing, and then it is new. @throws CannotStart if it cannot be made or written to. */
export async function prepareDataFolder(dataDir: string): Promise<{ isNew: boolean }> {
  const probe = join(dataDir, '.write-check');
  try {
    const made = await mkdir(dataDir, { recursive: true, mode: 0o700 });
    await writeFile(probe, 'x');
    await rm(probe);
    return { isNew: made !== undefined };
  } catch (error) {
    throw new CannotStart(
      `the data folder ${dataDir} cannot be written to (${errorCode(error)}): ` +
        'let the user Cardea runs as write there, or set CARDEA_DATA_DIR to another folder',
      { cause: error },
    );
  }
}

/**
 * Listens on each address for a moment. A port that is in use is tried again for `patienceMs`.
 *
 * @throws CannotStart naming the first address that cannot be had.
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
    return `port ${port} is in use by another program: stop it, or set CARDEA_PORT to another port (12 after it are used too)`;
  }
  if (code === 'EACCES') {
    return `this user may not listen on port ${port}: set CARDEA_PORT to one above 1023`;
  }
  return `nothing can listen on ${host}, port ${port} (${code}): set CARDEA_HOST to an address of this machine`;
}
