import { z } from 'zod';
import { endpoint } from './endpoint.ts';
import { Principal } from './grants.ts';
import { Page, PageOf, PlainName, SecretName, Time } from './names.ts';
import { Version } from './secrets/secret-shapes.ts';
import { VaultParams } from './vaults.ts';

/** A secret that expires, with its newest version. */
const SecretExpiry = z.strictObject({ name: SecretName, version: Version, expiresAt: Time });
const UserExpiry = z.strictObject({ username: PlainName, expiresAt: Time });
const ApplicationExpiry = z.strictObject({ application: PlainName, expiresAt: Time });
/** `id` is that of the credential. */
const CredentialExpiry = z.strictObject({ application: PlainName, id: z.uuid(), expiresAt: Time });
const GrantExpiry = z.strictObject({ principal: Principal, expiresAt: Time });

/** Every kind of event, and its payload. No payload has a value of a secret. */
export const eventPayloads = {
  'application.expiring': ApplicationExpiry,
  'application.expired': ApplicationExpiry,
  'credential.expiring': CredentialExpiry,
  'credential.expired': CredentialExpiry,
  /** A vault has a new DEK. */
  'dek.rotated': z.strictObject({ dekVersion: z.int().positive() }),
  'grant.expiring': GrantExpiry,
  'grant.expired': GrantExpiry,
  /** kek-service has a new KEK. */
  'kek.rotated': z.strictObject({ kekVersion: z.int().positive() }),
  /** The newest version of a secret expires soon. */
  'secret.expiring': SecretExpiry,
  'secret.expired': SecretExpiry,
  /** A ceo has asked for a value by break-glass. `by` has the name that the user had then. */
  'secret.breakGlass': z.strictObject({
    name: SecretName,
    version: Version,
    reason: z.string(),
    by: z.strictObject({ id: z.string(), name: PlainName }),
  }),
  'user.expiring': UserExpiry,
  'user.expired': UserExpiry,
} as const;

export type EventKind = keyof typeof eventPayloads;
export type EventPayload<K extends EventKind> = z.output<(typeof eventPayloads)[K]>;

const kinds = Object.keys(eventPayloads) as [EventKind, ...EventKind[]];

const eventOf = <K extends EventKind>(kind: K) =>
  z.strictObject({ id: z.uuid(), kind: z.literal(kind), payload: eventPayloads[kind], createdAt: Time });

export const VaultEvent = z.discriminatedUnion('kind', [
  eventOf('application.expiring'),
  eventOf('application.expired'),
  eventOf('credential.expiring'),
  eventOf('credential.expired'),
  eventOf('dek.rotated'),
  eventOf('grant.expiring'),
  eventOf('grant.expired'),
  eventOf('kek.rotated'),
  eventOf('secret.expiring'),
  eventOf('secret.expired'),
  eventOf('secret.breakGlass'),
  eventOf('user.expiring'),
  eventOf('user.expired'),
]);

export type VaultEvent = z.output<typeof VaultEvent>;

export const listEvents = endpoint({
  method: 'GET',
  path: '/api/v1/vaults/{vault}/events',
  action: 'event.list',
  summary: 'List the events that the owners of a vault should know, the newest first. Events are kept for 90 days.',
  auth: 'bearer',
  statuses: [200],
  params: VaultParams,
  query: Page.extend({ kind: z.enum(kinds).optional() }),
  body: z.undefined(),
  response: PageOf(VaultEvent),
});

export const listSystemEvents = endpoint({
  method: 'GET',
  path: '/api/v1/events',
  action: 'event.list',
  summary: 'What the admins should know of users, applications and credentials, the newest first. Kept for 90 days.',
  auth: 'bearer',
  statuses: [200],
  params: z.undefined(),
  query: Page.extend({ kind: z.enum(kinds).optional() }),
  body: z.undefined(),
  response: PageOf(VaultEvent),
});
