// What an operator asks of a running kek-service, with the operator's certificate:
//   pnpm operator status | unseal | seal | unfreeze <api-service|worker> <reason>
import { join, resolve } from 'node:path';
import { AppError } from '@cardea/contracts/errors';
import { createClient } from '@cardea/http/client/peer-client';
import { readTlsIdentity } from '@cardea/http/mtls';
import { checkedArguments } from '@cardea/process/arguments';
import { StartError } from '@cardea/process/config';
import { runToEnd } from '@cardea/process/run';
import { sealNow, showStatus, unfreeze, unsealByTyped } from './operator-commands.ts';
import type { Operator } from './operator-commands.ts';
import { readTyped } from './typed-secrets.ts';

const usage = `usage: pnpm operator status
       pnpm operator unseal
       pnpm operator seal
       pnpm operator unfreeze <api-service|worker> <reason>
unseal reads a passphrase, or shares, one a line, from the terminal (which does not show them) or the standard input.
If the keyring is open, it proves that they would open it. kek-service is at CARDEA_KEK_URL (default:
https://localhost:8401), and the certificate is in CARDEA_TLS_DIR (default: tls in CARDEA_DATA_DIR, or in data).`;

const { CARDEA_KEK_URL: url = 'https://localhost:8401', CARDEA_DATA_DIR: dataDir = 'data' } = process.env;
const tlsDir = resolve(process.env['CARDEA_TLS_DIR'] || join(dataDir, 'tls'));

await runToEnd(async () => {
  const [command, ...rest] = checkedArguments(process.argv.slice(2), { usage, wordsMax: 3 }).words;
  const run = commandOf(command, rest);
  if (run === undefined) throw new StartError(usage);
  if (!URL.canParse(url) || new URL(url).protocol !== 'https:') {
    throw new StartError(`CARDEA_KEK_URL is "${url}": write https://host:port of kek-service`);
  }
  const kek = createClient({ url, peer: 'kek-service', identity: readTlsIdentity(tlsDir, 'operator'), connections: 1 });
  try {
    await run({ kek, typed: readTyped, print });
  } catch (cause) {
    if (!(cause instanceof AppError)) throw cause;
    throw new StartError(`${cause.message}${cause.code === 'unavailable' ? ` (${url})` : ''}`, { cause });
  } finally {
    await kek.close();
  }
});
// An operator who has been told of a mistake need not end the input.
process.exit();

function commandOf(command: string | undefined, [peer, reason]: string[]) {
  if (command === 'unfreeze') {
    if ((peer !== 'api-service' && peer !== 'worker') || reason === undefined) return undefined;
    return (operator: Operator) => unfreeze(operator, { peer, reason });
  }
  if (peer !== undefined) return undefined;
  return { status: showStatus, unseal: unsealByTyped, seal: sealNow }[command ?? ''];
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
