import { Command } from 'commander';
import { addApp } from './commands/app.ts';
import { addAudit } from './commands/audit.ts';
import { addCompletion } from './commands/completion.ts';
import { addGrant } from './commands/grant.ts';
import { addKey } from './commands/key.ts';
import { addLogin } from './commands/login.ts';
import { addOperations } from './commands/operations.ts';
import { addRun } from './commands/run.ts';
import { addSecret } from './commands/secret.ts';
import { addUser } from './commands/user.ts';
import { addVault } from './commands/vault.ts';

const AFTER_HELP = `
An address is a vault and a name: payments/db/password, and payments/db/password@3 for a version.

Environment:
  CARDEA_URL                 the server, unless --url names it or a sign-in has chosen it
  CARDEA_TOKEN               an access token
  CARDEA_CLIENT_ID           an application, with CARDEA_CLIENT_SECRET_FILE or CARDEA_CLIENT_SECRET

Exit codes:
  0 done   1 failure   2 wrong usage   3 not signed in   4 not allowed   5 not found   6 conflict or condition   7 unavailable`;

/** The whole command line. */
export function buildProgram(): Command {
  const program = new Command('cardea')
    .description('Secrets and keys of a Cardea server, from the command line.')
    .option('--url <url>', 'the server')
    .option('--json', 'print what the server answered: one object, or one line an item')
    .option('--verbose', 'say more about an error: code, status, request id')
    .option('--allow-http', 'speak to another machine without TLS')
    .addHelpText('after', AFTER_HELP)
    .showHelpAfterError('Read how with --help.')
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'cardea: ')) })
    .exitOverride();
  addLogin(program);
  addSecret(program);
  addVault(program);
  addRun(program);
  addKey(program);
  addGrant(program);
  addUser(program);
  addApp(program);
  addAudit(program);
  addOperations(program);
  addCompletion(program);
  return program;
}
