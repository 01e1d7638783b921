import { QueueUnavailable } from '@cardea/jobs/queue';
import { run } from '@cardea/process/run';
import { DbRefused, DbUnavailable } from '@cardea/storage/db';
import { SchemaRefused } from '@cardea/storage/migrate';
import { readApiConfig } from './config.ts';
import { startApiService } from './start.ts';

await run(readApiConfig, startApiService, {
  cannotStart: [SchemaRefused, DbRefused],
  away: [DbUnavailable, QueueUnavailable],
});
