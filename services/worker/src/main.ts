import { run } from '@cardea/process/run';
import { DbUnavailable } from '@cardea/storage/db';
import { SchemaRefused } from '@cardea/storage/migrate';
import { readWorkerConfig } from './config.ts';
import { startWorker } from './start.ts';

await run(readWorkerConfig, startWorker, [SchemaRefused, DbUnavailable]);
