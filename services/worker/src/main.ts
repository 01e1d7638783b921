import { QueueUnavailable } from '@cardea/jobs/queue';
import { run } from '@cardea/process/run';
import { DbRefused, DbUnavailable } from '@cardea/storage/db';
import { SchemaRefused } from '@cardea/storage/migrate';
import { readWorkerConfig } from './config.ts';
import { startWorker } from './start.ts';

await run(readWorkerConfig, startWorker, {
  cannotStart: [SchemaRefused, DbRefused],
  away: [DbUnavailable, QueueUnavailable],
});
