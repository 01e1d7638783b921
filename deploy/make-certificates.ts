/**
 * `node deploy/make-certificates.ts <folder> [name=dns,dns …]` makes or renews the certificates in the folder. It is a
 * separate process so that the certificate library does not stay in memory. Arguments after the folder add DNS names:
 * `kek-service=kek-service,kek.internal`.
 */
import { inWords, readArguments } from '@cardea/process/arguments';

import { CannotStart, exitCannotStart, problemOf, whyNot } from './cannot-start.ts';
import { ensureCertificates } from './certificates.ts';

const usage = `usage: node deploy/make-certificates.ts <folder> [name=dns,dns …]
Makes the certificates of Cardea in the folder, or renews those that are due: docs/configuration.md.`;
const { words, problems } = readArguments(process.argv.slice(2), { usage, wordsMax: Infinity });
const [folder, ...names] = words;
try {
  if (folder === undefined) problems.push('name the folder');
  problems.push(...names.flatMap((name) => problemOf(() => parseDnsArgument(name))));
  if (folder === undefined || problems.length > 0) throw new CannotStart(inWords(problems, usage));
  const { made, renewed } = await ensureCertificates(folder, new Date(), { extraDnsNames: parseDnsNames(names) });
  if (made.length > 0) process.stdout.write(`made certificates: ${made.join(', ')}\n`);
  if (renewed.length > 0) process.stdout.write(`renewed certificates: ${renewed.join(', ')}\n`);
} catch (error) {
  process.stderr.write(`${whyNot(error, `the files in ${folder} cannot be written`)}\n`);
  process.exitCode = exitCannotStart;
}

function parseDnsNames(args: string[]): Record<string, string[]> {
  return Object.fromEntries(args.map(parseDnsArgument));
}

function parseDnsArgument(arg: string): [string, string[]] {
  const parts = /^([a-z-]+)=([a-zA-Z0-9.,-]+)$/.exec(arg);
  if (!parts?.[1] || !parts[2]) throw new CannotStart(`"${arg}" is not a list of DNS names: write name=dns,dns`);
  return [parts[1], parts[2].split(',')];
}
