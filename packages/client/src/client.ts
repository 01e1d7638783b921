import { applicationCalls } from './nouns/applications.ts';
import { auditCalls } from './nouns/audit.ts';
import { authCalls } from './nouns/auth.ts';
import { eventCalls } from './nouns/events.ts';
import { grantCalls } from './nouns/grants.ts';
import { keyCalls } from './nouns/keys.ts';
import { rotationCalls } from './nouns/rotations.ts';
import { sealCalls } from './nouns/seals.ts';
import { secretCalls } from './nouns/secrets.ts';
import { secretsCalls } from './nouns/many-secrets.ts';
import { systemCalls } from './nouns/system.ts';
import { userCalls } from './nouns/users.ts';
import { vaultCalls } from './nouns/vaults.ts';
import { webhookCalls } from './nouns/webhooks.ts';
import { Sender } from './sender.ts';
import { tokensOf } from './tokens.ts';
import type { Credentials } from './tokens.ts';
import { Transport } from './transport.ts';
import type { TransportOptions } from './transport.ts';

export { formatAddress, parseAddress } from './address.ts';
export type { Address, AddressText } from './address.ts';
export { bytesOf, fromBase64, toBase64 } from './bytes.ts';
export { CardeaError } from './errors.ts';
export type { ListOptions } from './pages.ts';
export { memorySession } from './session.ts';
export type { Session, SessionStore } from './session.ts';
export type { Credentials } from './tokens.ts';
export type { CallOptions } from './transport.ts';

export interface ClientOptions extends TransportOptions {
  /** Without credentials, `auth.signIn` signs in. */
  credentials?: Credentials | undefined;
}

export type Client = ReturnType<typeof createClient>;

/**
 * A client of Cardea. It keeps an access token, renews it, and repeats calls as docs/calling.md says. Every call throws a
 * `CardeaError`. The client has no state that another client shares.
 */
export function createClient({ credentials, ...options }: ClientOptions) {
  const transport = new Transport(options);
  const tokens = tokensOf(transport, credentials);
  const sender = new Sender(transport, tokens);
  return {
    auth: authCalls(sender, tokens),
    users: userCalls(sender),
    applications: applicationCalls(sender),
    vaults: vaultCalls(sender),
    grants: grantCalls(sender),
    secrets: { ...secretCalls(sender), ...secretsCalls(sender) },
    keys: keyCalls(sender),
    audit: auditCalls(sender),
    rotations: rotationCalls(sender),
    seals: sealCalls(sender),
    events: eventCalls(sender),
    webhooks: webhookCalls(sender),
    system: systemCalls(sender),
  };
}
