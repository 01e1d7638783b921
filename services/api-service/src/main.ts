import { run } from '@cardea/http/run';
import { SchemaRefused } from '@cardea/storage/migrate';
import { readApiConfig } from './config.ts';
import { startApiService } from './start.ts';

await run(() => startApiService(readApiConfig(process.env)), [SchemaRefused]);
