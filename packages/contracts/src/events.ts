import { z } from 'zod';
import { endpoint } from './endpoint.ts';
import { Page, PageOf, PlainName, SecretName, Time } from './names.ts';
import { Version } from './secrets/secret-shapes.ts';
import { VaultParams } from './vaults.ts';

/** What a secret that ends is announced with. */
const Ending = z.strictObject({ name: SecretName, version: Version, expiresAt: Time });

/** Every kind of event there is, and what it tells. No value of a secret is ever in one. */
export const eventPayloads = {
  /** The newest version of a secret ends soon. */
  'secret.expiring': Ending,
  /** It has ended. */
  'secret.expired': Ending,
  /** Oversight has asked for a value by break-glass; `by` is who they were then. */
  'secret.breakGlass': z.strictObject({
    name: SecretName,
    version: Version,
    reason: z.string(),
    by: z.strictObject({ id: z.string(), name: PlainName }),
  }),
} as const;

export type EventKind = keyof typeof eventPayloads;
export type EventPayload<K extends EventKind> = z.output<(typeof eventPayloads)[K]>;

const kinds = Object.keys(eventPayloads) as [EventKind, ...EventKind[]];

const about = { id: z.uuid(), createdAt: Time };

export const VaultEvent = z.discriminatedUnion('kind', [
  z.strictObject({
    ...about,
    kind: z.literal('secret.expiring'),
    payload: eventPayloads['secret.expiring'],
  }),
  z.strictObject({ ...about, kind: z.literal('secret.expired'), payload: eventPayloads['secret.expired'] }),
  z.strictObject({ ...about, kind: z.literal('secret.breakGlass'), payload: eventPayloads['secret.breakGlass'] }),
]);

export type VaultEvent = z.output<typeof VaultEvent>;

export const listEvents = endpoint({
  method: 'GET',
  path: '/api/v1/vaults/{vault}/events',
  action: 'event.list',
  summary: 'What the owners of a vault should hear of, the newest first. Kept for 90 days.',
  auth: 'bearer',
  statuses: [200],
  params: VaultParams,
  query: Page.extend({ kind: z.enum(kinds).optional() }),
  body: z.undefined(),
  response: PageOf(VaultEvent),
});
