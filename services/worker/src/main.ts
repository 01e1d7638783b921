import { run } from '@cardea/http/run';
import { readWorkerConfig } from './config.ts';
import { startWorker } from './start.ts';

await run(() => startWorker(readWorkerConfig(process.env)));
