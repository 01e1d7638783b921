import { run } from '@cardea/process/run';
import { readKekConfig } from './config.ts';
import { refuseMissingPassphrase } from './first-keyring.ts';
import { startKekService } from './start.ts';

await run((env) => {
  const config = readKekConfig(env);
  refuseMissingPassphrase(config);
  return config;
}, startKekService);
