import { parseAddress } from '@cardea/client';
import type { Client } from '@cardea/client';
import { Failure, EXIT, usage } from '../../failure.ts';
import { toPair } from '../secret/write.ts';

/** The most names that one call reads. */
const BATCH = 100;

/** A value that becomes a variable. */
export interface Named {
  /** The variable, or the name that it is made from. */
  variable: string;
  isMapped: boolean;
  /** For messages: `payments/db/password`. */
  path: string;
  secret: { value: string; encoding: 'utf8' | 'base64' };
}

/** The secrets of a vault, or those under a prefix. References are followed. @throws Failure if there are none */
export async function readBelow(cardea: Client, vault: string, prefix: string | undefined): Promise<Named[]> {
  const under = prefix === undefined ? '' : `${prefix.replace(/\/+$/, '')}/`;
  const names: string[] = [];
  for await (const { name } of cardea.secrets.list(`${vault}/${under}`, { limit: 500 })) names.push(name);
  if (names.length === 0)
    throw new Failure(`there are no secrets that you may see in ${vault}/${under}`, EXIT.notFound);
  const values: Named[] = [];
  for (let at = 0; at < names.length; at += BATCH) {
    for (const secret of await cardea.secrets.readMany(vault, names.slice(at, at + BATCH))) {
      const { name } = secret;
      values.push({ variable: name.slice(under.length), isMapped: false, path: `${vault}/${name}`, secret });
    }
  }
  return values;
}

/** The secrets of `NAME=payments/db/password`. */
export async function readAddressed(cardea: Client, map: string[]): Promise<Named[]> {
  return await Promise.all(
    map.map(async (text) => {
      const [variable, path] = toPair(text);
      if (!/^[A-Za-z_]\w*$/.test(variable)) throw usage(`"${variable}" cannot be a variable`);
      return { variable, isMapped: true, path, secret: await cardea.secrets.get(parseAddress(path)) };
    }),
  );
}
