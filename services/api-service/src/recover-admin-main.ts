// Opens an account again when no admin can sign in: pnpm recover-admin <username>
import { existsSync, rmSync } from 'node:fs';
import { AppError } from '@cardea/contracts/errors';
import { createPasswordHasher, defaultPasswordCost } from '@cardea/crypto/password';
import { CHECK_SETTINGS, checkedArguments } from '@cardea/process/arguments';
import { StartError } from '@cardea/process/config';
import { refuseUnfinishedRestore } from '@cardea/process/data-folder';
import { failStop, runToEnd } from '@cardea/process/run';
import { DbRefused, DbUnavailable } from '@cardea/storage/db';
import { SchemaRefused } from '@cardea/storage/migrate';
import { openDatabase } from '@cardea/storage/open';
import { migrationsFolder } from '@cardea/vault/migrations';
import { recoverAdmin } from '@cardea/vault/users/recover-admin';
import { FIRST_ADMIN } from '@cardea/vault/users/first-admin';
import { readRecoveryConfig } from './recovery-config.ts';
import type { RecoveryConfig } from './recovery-config.ts';

const usage = `usage: pnpm recover-admin <username> | --check-settings
Makes the user an admin who can sign in: with a one-time password, without TOTP, not disabled and not expired.
The database is in CARDEA_DATA_DIR (default: data), or with CARDEA_PROFILE=full at CARDEA_DATABASE_URL.`;

await runToEnd(recover, { cannotStart: [SchemaRefused, DbRefused], away: [DbUnavailable] });

async function recover(): Promise<void> {
  const options = { [CHECK_SETTINGS]: 'flag' } as const;
  const { said, words } = checkedArguments(process.argv.slice(2), { usage, options, wordsMax: 1 });
  const config = readRecoveryConfig(process.env);
  if (CHECK_SETTINGS in said) return;
  const [username] = words;
  if (username === undefined) throw new StartError(usage);
  refuseUnfinishedRestore(config.dataDir);
  const { oneTimePassword } = await recoverIn(config, username);
  // It is the password of before, which opens nothing now.
  if (username === FIRST_ADMIN) rmSync(config.initialPasswordFile, { force: true });
  process.stdout.write(`${oneTimePassword}\n`);
  process.stderr.write(
    `This one-time password of ${username} signs in once; POST /api/v1/auth/password then sets another one. ` +
      'The audit log gets the record (user.recover) when Cardea runs.\n',
  );
}

async function recoverIn({ database, allowFsyncOff }: RecoveryConfig, username: string) {
  // A new file would be an installation without users.
  if (typeof database === 'string' && !existsSync(database)) {
    throw new StartError(`There is no database ${database}: set CARDEA_DATA_DIR to the folder of the installation.`);
  }
  const db = await openDatabase({
    target: database,
    migrations: migrationsFolder,
    onCommitError: (error) => failStop('The database could not commit', error),
    allowFsyncOff,
  });
  try {
    const passwords = createPasswordHasher(defaultPasswordCost, { concurrent: 1, queued: 1 });
    return await recoverAdmin({ db, passwords, now: () => new Date() }, username);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    throw new StartError(`Nothing was changed: ${error.message}.`, { cause: error });
  } finally {
    await db.close();
  }
}
