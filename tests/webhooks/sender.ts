import { signWebhook } from '@cardea/crypto/webhook-signature';
import { parseWebhookSecret } from '@cardea/crypto/webhook-signature';
import { sendRequest } from '@cardea/testkit/raw-http';
import type { RawAnswer } from '@cardea/testkit/raw-http';
import type { TestSystem } from '@cardea/testkit/system';
import { SECOND_MS } from '@cardea/contracts/durations';

const PATH = '/api/v1/webhooks/kek-rotation';

/** A signed request for a KEK rotation, as its sender sends it. */
export interface Signed {
  method: 'GET' | 'POST';
  target: string;
  headers: Record<string, string | undefined>;
  body: string;
}

interface Signing {
  secret: string;
  id?: string;
  timestampSeconds?: number;
  body?: string;
}

let sent = 0;

/** Signs a request that starts a rotation. Without more, it is a new message of this moment. */
export function signed(system: TestSystem, signing: Signing): Signed {
  return { ...sign(system, { body: '{"reason":"a test"}', ...signing }), method: 'POST', target: PATH };
}

/** Signs a request that follows a rotation. */
export function signedGet(system: TestSystem, rotation: string, signing: Signing): Signed {
  return { ...sign(system, { body: '', ...signing }), method: 'GET', target: `${PATH}/rotations/${rotation}` };
}

function sign(
  system: TestSystem,
  { secret, body, ...rest }: Signing & { body: string },
): Pick<Signed, 'headers' | 'body'> {
  const { id = `msg_${(sent += 1)}`, timestampSeconds = Math.floor(system.now().getTime() / SECOND_MS) } = rest;
  const signature = signWebhook(parseWebhookSecret(secret)!, { id, timestampSeconds, body });
  const headers = {
    ...(body === '' ? {} : { 'content-type': 'application/json' }),
    'webhook-id': id,
    'webhook-timestamp': String(timestampSeconds),
    'webhook-signature': signature,
  };
  return { headers, body };
}

export function send(
  system: TestSystem,
  request: Omit<Signed, 'body'> & { body: string | Uint8Array },
): Promise<RawAnswer> {
  return sendRequest(system.url, request);
}
