/**
 * `node deploy/make-certificates.ts <folder> [name=dns,dns …]` makes or renews the certificates in the folder. It is a
 * separate process so that the certificate library does not stay in memory. Arguments after the folder add DNS names:
 * `kek-service=kek-service,kek.internal`.
 */
import { CannotStart, exitCannotStart } from './cannot-start.ts';
import { ensureCertificates } from './certificates.ts';

const [folder, ...names] = process.argv.slice(2);
try {
  if (folder === undefined) {
    throw new CannotStart('name the folder: node deploy/make-certificates.ts <folder> [name=dns,dns …]');
  }
  const { made, renewed } = await ensureCertificates(folder, new Date(), { extraDnsNames: parseDnsNames(names) });
  if (made.length > 0) process.stdout.write(`made certificates: ${made.join(', ')}\n`);
  if (renewed.length > 0) process.stdout.write(`renewed certificates: ${renewed.join(', ')}\n`);
} catch (error) {
  if (!(error instanceof CannotStart)) throw error;
  process.stderr.write(`${error.message}\n`);
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
