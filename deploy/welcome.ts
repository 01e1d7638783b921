import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { seconds } from './child.ts';

/** The facts of a start that the operator needs. */
export interface Started {
  /** The URL of Cardea. */
  url: string;
  dataDir: string;
  tlsDir: string;
  /** The URL of kek-service if it waits for its passphrase. */
  sealedAt: string | undefined;
  /** The file with the password of the first admin if this is the first start. */
  passwordFile: string | undefined;
}

/** Returns the text that the operator reads once Cardea runs: its URL, and what to do next. */
export function welcome(start: Started): string {
  const { sealedAt, passwordFile, dataDir } = start;
  const lines = [headline(start), `The data is in ${dataDir}`];
  if (passwordFile !== undefined) lines.push(...firstPassword(passwordFile));
  if (sealedAt !== undefined) lines.push(...howToUnseal(sealedAt, start.tlsDir));
  else if (passwordFile === undefined) lines.push('Ctrl-C stops it');
  return `\n${lines.map((line) => `  ${line}\n`).join('')}\n`;
}

function headline({ url, sealedAt }: Started): string {
  if (sealedAt !== undefined) return `Cardea is SEALED: until it is unsealed, ${url} answers 503`;
  return `Cardea is ready in ${seconds(performance.now(), 1)}: ${url}`;
}

function firstPassword(file: string): string[] {
  return [
    `Log in as admin with the password ${readFileSync(file, 'utf8').trim()}`,
    `(the password is also in ${file})`,
  ];
}

// A passphrase or share goes from the terminal through a pipe, so it is in no shell history and on no command line.
function howToUnseal(kekUrl: string, tlsDir: string): string[] {
  const file = (name: string) => quoted(join(tlsDir, name));
  const toJson = `const { P } = process.env; JSON.stringify(/^ *cs1-/i.test(P) ? { share: P } : { passphrase: P })`;
  const ask = `(IFS= read -rs P; P="$P" node -p '${toJson}')`;
  const certificates = `--cacert ${file('ca.pem')} --cert ${file('operator.pem')} --key ${file('operator.key')}`;
  const send = `curl -sS ${certificates} -H 'Content-Type: application/json' --data-binary @- -w '\\n' ${kekUrl}/v1/unseal`;
  return [
    'To unseal it, run this in another terminal (bash or zsh), type the passphrase or a share, which is not shown, and',
    'press Enter; with shares, repeat it until there are enough:',
    `${ask} | ${send}`,
  ];
}

function quoted(path: string): string {
  return `'${path.replaceAll("'", `'\\''`)}'`;
}
