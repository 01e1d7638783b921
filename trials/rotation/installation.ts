import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Db } from '@cardea/storage/db';
import { openSqlite } from '@cardea/storage/sqlite';
import { Cardea } from '../kill/cardea.ts';
import { serviceNames } from '../kill/messages.ts';
import type { ServiceName } from '../kill/messages.ts';

/** What a trial kills. Redis is not killed: it loses all its data. */
export type Target = ServiceName | 'worker' | 'PostgreSQL' | 'Redis';

/** A Cardea of either profile, whose processes the trial kills. What it kills starts again by itself. */
export interface Installation {
  readonly url: string;
  readonly kekUrl: string;
  readonly dataDir: string;
  /** The log lines of all its services. */
  readonly logFile: string;
  readonly password: string;
  readonly targets: readonly [Target, ...Target[]];
  /** How many times a service ended without being killed, by its name and exit code. */
  readonly endedByItself: ReadonlyMap<string, number>;
  /** Kills one target with SIGKILL. Resolves when it has ended. */
  kill(target: Target): Promise<void>;
  /** Resolves when every service is ready. @throws Violation after `withinMs` */
  untilReady(withinMs: number): Promise<void>;
  /** Opens a new connection to the database of api-service. */
  openDatabase(): Db;
  /** Every file in which the installation may have left something: data, logs, and what Redis holds. */
  listFiles(): Promise<string[]>;
  /** Stops everything in order. */
  stop(): Promise<void>;
}

/** Starts a Cardea of profile mini under its real supervisor, with its data and its log in `folder`. */
export async function startMini(folder: string): Promise<Installation> {
  const cardea = await Cardea.start(folder);
  const { url, dataDir, logFile, endedByItself } = cardea;
  return {
    url,
    kekUrl: `https://127.0.0.1:${Number(new URL(url).port) + 1}`,
    dataDir,
    logFile,
    get password() {
      return cardea.password;
    },
    targets: serviceNames,
    endedByItself,
    async kill(target) {
      await cardea.kill(target as ServiceName);
    },
    untilReady: (withinMs) => cardea.untilReady(withinMs),
    openDatabase: () => openSqlite(join(dataDir, 'api', 'cardea.db')),
    listFiles: () => filesBelow(folder),
    stop: () => cardea.stop(),
  };
}

/** The paths of all files in a folder and its folders. */
export async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
}
