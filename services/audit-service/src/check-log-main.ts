// Checks a log that no audit-service has open, for the command that restores a backup.
import { checkedArguments } from '@cardea/process/arguments';
import { runToEnd } from '@cardea/process/run';
import { DbRefused, DbUnavailable } from '@cardea/storage/db';
import { SchemaRefused } from '@cardea/storage/migrate';
import { FatalLogError } from './append/log.ts';
import { checkLog } from './check-log.ts';
import { readStoredLog } from './config.ts';

const usage = `usage: node services/audit-service/src/check-log-main.ts
Compares the log in CARDEA_DATA_DIR (default: data) with its chain, its tree and its last checkpoint.`;

await runToEnd(
  async () => {
    checkedArguments(process.argv.slice(2), { usage });
    const { size, signedSize, signedAt } = await checkLog(readStoredLog(process.env));
    process.stdout.write(
      `The audit log has ${size} entries, and all follow each other. The first ${signedSize} are those that were signed at ${signedAt}.\n`,
    );
  },
  { cannotStart: [SchemaRefused, DbRefused, FatalLogError], away: [DbUnavailable] },
);
