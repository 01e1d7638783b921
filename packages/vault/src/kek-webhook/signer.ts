import type { Caller } from '@cardea/contracts/caller';
import type { VerifiedWebhook } from './verify-webhook.ts';

/** The sender of a webhook as a caller: it has the secret, and comes from the address of the request. */
export function signerOf({ source, requestId }: Caller, { secretId }: Pick<VerifiedWebhook, 'secretId'>): Caller {
  return { actor: { id: 'kek-rotation-webhook', type: 'service', credential: secretId }, source, requestId };
}
