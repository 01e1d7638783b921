// Checks a log that no audit-service has open, for the command that restores a backup.
import { userInfo } from 'node:os';
import { checkedArguments } from '@cardea/process/arguments';
import { StartError } from '@cardea/process/config';
import { runToEnd } from '@cardea/process/run';
import { DbRefused, DbUnavailable } from '@cardea/storage/db';
import { SchemaRefused } from '@cardea/storage/migrate';
import { FatalLogError } from './append/log.ts';
import { checkLog } from './check-log.ts';
import { readStoredLog } from './config.ts';
import { noteRestore } from './restored-log.ts';

const usage = `usage: node services/audit-service/src/check-log-main.ts [--backup <id> --made-at <time>]
Compares the log in CARDEA_DATA_DIR (default: data) with its chain, its tree and its last checkpoint.
  --backup, --made-at   the log is that of this backup: the next start of audit-service records that it was restored`;

await runToEnd(
  async () => {
    const options = { backup: 'value', 'made-at': 'value' } as const;
    const { said } = checkedArguments(process.argv.slice(2), { usage, options });
    const { backup, 'made-at': madeAt } = said;
    if ((backup === undefined) !== (madeAt === undefined)) throw new StartError(usage);
    const config = readStoredLog(process.env);
    const { size, signedSize, signedAt, checkpoint } = await checkLog(config);
    if (backup !== undefined && madeAt !== undefined) {
      const restored = { backup, madeAt, size, signedAt, checkpoint };
      await noteRestore(config.folder, { at: Date.now(), by: accountName(), ...restored });
    }
    process.stdout.write(
      `The audit log has ${size} entries, and all follow each other. The first ${signedSize} are those that were signed at ${signedAt}.\n`,
    );
  },
  { cannotStart: [SchemaRefused, DbRefused, FatalLogError], away: [DbUnavailable] },
);

/** The account that runs this process, and the one that it was before sudo. */
function accountName(): string {
  const before = process.env['SUDO_USER'];
  return `${nameOrId()}${before ? ` (sudo by ${before})` : ''}`.slice(0, 256);
}

function nameOrId(): string {
  try {
    return userInfo().username;
  } catch {
    // An account without a name, as in some containers.
    return `${process.getuid?.() ?? 'unknown'}`;
  }
}
