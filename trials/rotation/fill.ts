import { BULK_MAX } from '@cardea/contracts/secrets/bulk';
import { createVault, importVersions } from './changes.ts';
import type { Client } from './client.ts';
import type { KnownVault } from './known-secrets.ts';

/** How many versions each secret has at the start. */
const VERSIONS = 5;

/** Makes vaults and fills them. */
export interface Filler {
  /** Makes a vault of the size of the trial, by the bulk import of the API: one import for each version of its secrets. */
  fillVault(client: Client): Promise<KnownVault>;
  /** A value that no other write of the trial has. It begins with a mark that is not in any other data. */
  newValue(): string;
  newName(): string;
}

/** `versions` is how many versions a vault has at the start, rounded to a multiple of five. */
export function createFiller(mark: string, versions: number): Filler {
  const secrets = Math.min(BULK_MAX, Math.max(1, Math.round(versions / VERSIONS)));
  let values = 0;
  let names = 0;
  let vaults = 0;

  const newValue = () => `${mark} ${(values += 1)} ${'x'.repeat(values % 200)}`;
  const newName = () => `area/s${(names += 1)}`;

  return {
    newValue,
    newName,
    async fillVault(client) {
      const vault = await createVault(client, `vault-${(vaults += 1)}`);
      const inVault = Array.from({ length: secrets }, newName);
      for (let version = 1; version <= VERSIONS; version += 1) {
        await importVersions(client, vault, new Map(inVault.map((name) => [name, newValue()])));
      }
      return vault;
    },
  };
}
