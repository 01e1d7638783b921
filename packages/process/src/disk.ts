import { statSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Registry } from 'prom-client';
import { addGauge } from './metrics.ts';
import type { OpsView } from './ops.ts';

/** With less room than this, a service says that it is degraded. */
const FREE_BYTES_MIN = 256 * 1024 * 1024;

/** What a database and its disk hold, in bytes. */
export interface DiskFigures {
  /** What this user may still write. */
  freeBytes: number;
  /** The database file and its write-ahead log. */
  databaseBytes: number;
}

/** Measures the SQLite file at `path` and its disk. */
export function measureDisk(path: string): DiskFigures {
  const { bavail, bsize } = statfsSync(dirname(path));
  const sizes = [path, `${path}-wal`].map((file) => statSync(file, { throwIfNoEntry: false })?.size ?? 0);
  return { freeBytes: bavail * bsize, databaseBytes: sizes[0]! + sizes[1]! };
}

/**
 * Adds the figures to the metrics, and returns what `readyz` shows of them. Not of a server of PostgreSQL, whose disk is
 * elsewhere: exporters show that.
 */
export function showDisk(registry: Registry, database: unknown): Pick<OpsView, 'optional' | 'disk'> {
  if (typeof database !== 'string') return {};
  const figures = () => measureDisk(database);
  const free = { name: 'cardea_disk_free_bytes', help: 'Room on the disk of the database.' };
  addGauge(registry, free, () => figures().freeBytes);
  const size = { name: 'cardea_database_bytes', help: 'Size of the database with its write-ahead log.' };
  addGauge(registry, size, () => figures().databaseBytes);
  return { optional: { disk: async () => refuseFull(figures()) }, disk: figures };
}

function refuseFull({ freeBytes }: DiskFigures): void {
  if (freeBytes < FREE_BYTES_MIN) throw new Error('the disk is nearly full');
}
