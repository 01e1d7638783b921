import { run } from '@cardea/process/run';
import { readKekConfig } from './config.ts';
import { refuseMissingPassphrase } from './keyring-folder.ts';
import { startKekService } from './start.ts';

await run(async (env) => {
  const config = readKekConfig(env);
  await refuseMissingPassphrase(config);
  return config;
}, startKekService);
