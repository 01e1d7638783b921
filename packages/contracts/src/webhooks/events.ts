import { z } from 'zod';
import { eventPayloads } from '../events.ts';
import type { EventKind } from '../events.ts';
import { PlainName } from '../names.ts';

const inVault = { vault: PlainName, vaultId: z.uuid() };
const Actor = z.object({ type: z.string(), id: z.string(), name: z.string().optional() });

/** The events that users can list, with the vault of those that have one. */
const listed = {
  'application.expiring': eventPayloads['application.expiring'].strip(),
  'application.expired': eventPayloads['application.expired'].strip(),
  'credential.expiring': eventPayloads['credential.expiring'].strip(),
  'credential.expired': eventPayloads['credential.expired'].strip(),
  /** A vault has a new DEK. The system's DEK has no vault. */
  'dek.rotated': eventPayloads['dek.rotated']
    .extend({ vault: PlainName.optional(), vaultId: z.uuid().optional() })
    .strip(),
  'grant.expiring': eventPayloads['grant.expiring'].extend(inVault).strip(),
  'grant.expired': eventPayloads['grant.expired'].extend(inVault).strip(),
  'kek.rotated': eventPayloads['kek.rotated'].strip(),
  'secret.expiring': eventPayloads['secret.expiring'].extend(inVault).strip(),
  'secret.expired': eventPayloads['secret.expired'].extend(inVault).strip(),
  // A person typed the reason, so it is for the owners only.
  'secret.breakGlass': eventPayloads['secret.breakGlass'].omit({ reason: true }).extend(inVault).strip(),
  'user.expiring': eventPayloads['user.expiring'].strip(),
  'user.expired': eventPayloads['user.expired'].strip(),
} satisfies Record<EventKind, z.ZodObject>;

/**
 * Every event that is sent to receivers of webhooks, with its data: ids, names, times and counts, never a value of a
 * secret and no text that a person typed. A field that is not listed here is left out.
 */
export const webhookEvents = {
  ...listed,
  /** Requests were refused as suspicious: how many in a minute, by one rule, and the latest of them. */
  'security.suspicious': z.object({
    rule: z.string(),
    count: z.int().min(1),
    action: z.string(),
    actor: Actor,
    ip: z.string().optional(),
  }),
} as const;

export type WebhookEventKind = keyof typeof webhookEvents;

export const webhookEventKinds = Object.keys(webhookEvents) as [WebhookEventKind, ...WebhookEventKind[]];
