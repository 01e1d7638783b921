import { AppError } from '@cardea/contracts/errors';

/**
 * The names of variables of a shell for names of secrets: `db/password` as `DB_PASSWORD`. Names are in the order of their
 * secrets, and relative to `prefix`; the secret that is the prefix itself is called by its last segment.
 * @throws AppError `conflict` if two secrets would have one name
 */
export function shellNames(secrets: string[], prefix: string | undefined): string[] {
  const takenBy = new Map<string, string>();
  return secrets.map((secret) => {
    const name = toShellName(belowPrefix(secret, prefix));
    const other = takenBy.get(name);
    if (other !== undefined) {
      const message = `the secrets ${other} and ${secret} would both be called ${name}: export a prefix, or with names "paths"`;
      throw new AppError('conflict', message);
    }
    takenBy.set(name, secret);
    return name;
  });
}

function belowPrefix(secret: string, prefix: string | undefined): string {
  if (prefix === undefined) return secret;
  return secret === prefix ? secret.slice(secret.lastIndexOf('/') + 1) : secret.slice(prefix.length + 1);
}

// A name of POSIX (section 3.216): letters, digits and underscores, and no digit at the beginning.
function toShellName(path: string): string {
  const name = path.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_');
  return /^\d/.test(name) ? `_${name}` : name;
}
