import type { Caller } from './caller.ts';
import { clientNetwork } from './cidr.ts';

/**
 * The key under which a caller is counted: the account, or the network of a client whose account is not known. Every
 * limit and every share of a caller uses it.
 */
export function callerKey({ actor, source }: Caller): string {
  return actor.type === 'anonymous' ? `address:${clientNetwork(source.ip ?? 'unknown')}` : `${actor.type}:${actor.id}`;
}
