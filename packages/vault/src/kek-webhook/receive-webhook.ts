import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { uuidv7 } from '@cardea/crypto/ids';
import type { Transaction } from '@cardea/storage/db';
import { principalOf } from '../authorize.ts';
import type { VaultContext } from '../context.ts';
import { changed } from '../record.ts';
import type { EventFactsList } from '../record.ts';
import { nudgeRotations } from '../rotation/nudge-rotations.ts';
import { rotationStarted, startKekRotation } from '../rotation/start-rotation.ts';
import { noteSecretUse } from '../webhook-secrets/webhook-secret-store.ts';
import { findMessage, insertMessage } from './message-store.ts';
import { signerOf } from './signer.ts';
import { refused } from './verify-webhook.ts';
import type { VerifiedWebhook } from './verify-webhook.ts';

/**
 * Starts a KEK rotation and stores the id of the message, in one transaction. A message that was received before starts
 * nothing again and gets the same answer, because a sender repeats a message whose answer was lost. If a rotation is
 * open or has started a short time ago, the answer is the id of that one.
 * @throws AppError `unauthenticated` if the secret was deleted meanwhile
 */
export async function receiveWebhook(
  ctx: VaultContext,
  caller: Caller,
  webhook: VerifiedWebhook,
): Promise<Audited<{ rotationId: string }>> {
  const signer = signerOf(caller, webhook);
  const received = await changed(ctx, signer, async (tx) => {
    const { rotationId, rule } = await answerMessage(ctx, tx, { webhook, startedBy: principalOf(signer) });
    const resource = { name: rotationId };
    const reason = `webhook-id ${webhook.messageId}`;
    const facts: EventFactsList = [{ action: 'webhook.receive', rule, reason, resource }];
    const changes = rotationStarted('kek');
    if (rule === 'webhook-signed') facts.push({ action: 'rotation.start', rule, reason: 'kek', resource, changes });
    return { value: { rotationId }, facts };
  });
  nudgeRotations(ctx);
  return received;
}

type Answered = { rotationId: string; rule: 'webhook-signed' | 'webhook-repeat' | 'rotation-open' };

async function answerMessage(
  ctx: VaultContext,
  tx: Transaction,
  { webhook: { messageId, secretId }, startedBy }: { webhook: VerifiedWebhook; startedBy: string },
): Promise<Answered> {
  const now = ctx.now();
  const receivedAt = now.getTime();
  if (!(await noteSecretUse(tx, { id: secretId, at: receivedAt })))
    throw refused('webhook-forged', 'webhook_forged', secretId);
  const known = await findMessage(tx, messageId);
  if (known) return { rotationId: known.rotation_id, rule: 'webhook-repeat' };
  const { id: rotationId, started } = await startKekRotation(tx, { id: uuidv7(receivedAt), startedBy, now });
  await insertMessage(tx, { id: messageId, rotationId, receivedAt });
  return { rotationId, rule: started ? 'webhook-signed' : 'rotation-open' };
}
