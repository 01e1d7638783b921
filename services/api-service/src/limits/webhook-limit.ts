import { AppError } from '@cardea/contracts/errors';
import { createTokenBuckets } from '@cardea/http/server/token-buckets';
import type { VerifiedWebhook } from '@cardea/vault/kek-webhook/verify-webhook';

/** One message may be repeated this often at once, and then once in ten seconds. */
const REPEATS = { perSecond: 0.1, burst: 10 };
/** What the sender with one secret may send at once, and then each second. */
const MESSAGES = { perSecond: 2, burst: 120 };

/**
 * Limits signed requests, each of which costs a write and a record. A message that somebody has recorded and repeats
 * counts against its own limit first, so that it uses up little of what the sender may send. `clock` counts
 * milliseconds. The returned function throws AppError `rate_limited`.
 */
export function createWebhookLimit(clock = () => performance.now()): (webhook: VerifiedWebhook) => void {
  const repeats = createTokenBuckets({ ...REPEATS, now: clock });
  const messages = createTokenBuckets({ ...MESSAGES, now: clock });
  return ({ messageId, secretId }) => {
    const { missing: ofRepeats } = repeats.take(messageId, 1);
    const missing = ofRepeats > 0 ? ofRepeats / REPEATS.perSecond : messages.take(secretId, 1).missing / 2;
    if (missing === 0) return;
    throw new AppError('rate_limited', 'too many webhooks', {
      rule: 'rate-limit',
      retryAfterSeconds: Math.ceil(missing),
      resource: { name: secretId },
    });
  };
}
