import { run } from '@cardea/http/run';
import { readApiConfig } from './config.ts';
import { startApiService } from './start.ts';

await run(() => startApiService(readApiConfig(process.env)));
