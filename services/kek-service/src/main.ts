import { run } from '@cardea/http/run';
import { readKekConfig } from './config.ts';
import { startKekService } from './start.ts';

await run(() => startKekService(readKekConfig(process.env)));
