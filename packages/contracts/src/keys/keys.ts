import { z } from 'zod';
import { endpoint } from '../endpoint.ts';
import { KeyName, Page, PageOf, Time, WholeNumber, WholeNumberOr } from '../names.ts';
import { Version, Who } from '../secrets/secret-shapes.ts';
import {
  KEYS_PATH,
  KEY_PATH,
  Key,
  DERIVABLE,
  KeyAlgorithm,
  KeyDerivation,
  KeyParams,
  KeyVersion,
  KeyWithPublicHalf,
  RotationPeriod,
  allKeys,
  keyVersionStates,
  oneKey,
  requireDerivable,
} from './key-shapes.ts';

export const createKey = endpoint({
  ...allKeys,
  method: 'POST',
  path: KEYS_PATH,
  action: 'key.create',
  summary:
    'Make a key of random bytes. It never leaves Cardea, which encrypts, signs and verifies with it, unless it is exportable.',
  statuses: [201],
  body: z
    .strictObject({
      name: KeyName,
      algorithm: KeyAlgorithm,
      /** With it, each call names a context, and works with the key that is derived for it. Of symmetric keys only. */
      derivation: KeyDerivation.optional(),
      deletionProtection: z.boolean().default(false),
      exportable: z.boolean().default(false),
      rotationPeriodSeconds: RotationPeriod.optional(),
    })
    .superRefine(requireDerivable)
    .meta({ override: DERIVABLE }),
  response: KeyWithPublicHalf,
});

export const listKeys = endpoint({
  ...allKeys,
  method: 'GET',
  path: KEYS_PATH,
  action: 'key.list',
  summary: 'List the keys of a vault by name.',
  statuses: [200],
  query: Page,
  body: z.undefined(),
  response: PageOf(Key),
});

export const readKey = endpoint({
  ...oneKey,
  method: 'GET',
  path: KEY_PATH,
  action: 'key.read',
  summary: 'Read a key without its material, with the public half of its newest version.',
  statuses: [200],
  body: z.undefined(),
  response: KeyWithPublicHalf,
});

export const changeKey = endpoint({
  ...oneKey,
  method: 'PATCH',
  path: KEY_PATH,
  action: 'key.change',
  summary:
    'Change the given fields of a key. Versions older than `minDecryptVersion` neither decrypt nor verify; versions older ' +
    'than `minEncryptVersion` neither encrypt nor sign. `minDecryptVersion` is at most `minEncryptVersion`.',
  statuses: [200],
  body: z.strictObject({
    minEncryptVersion: Version.optional(),
    minDecryptVersion: Version.optional(),
    deletionProtection: z.boolean().optional(),
    /** The period begins now. null ends the schedule. */
    rotationPeriodSeconds: RotationPeriod.nullable().optional(),
  }),
  response: Key,
});

export const rotateKey = endpoint({
  ...oneKey,
  method: 'POST',
  path: `${KEY_PATH}:rotate`,
  action: 'key.rotate',
  summary: 'Make a new version of a key. It encrypts and signs from now on; older versions still decrypt and verify.',
  statuses: [200],
  body: z.undefined(),
  response: KeyWithPublicHalf,
});

export const listKeyVersions = endpoint({
  ...oneKey,
  method: 'GET',
  path: `${KEY_PATH}:versions`,
  action: 'key.versions',
  summary: 'List the versions of a key, the newest first, with their public halves.',
  statuses: [200],
  query: Page,
  body: z.undefined(),
  response: PageOf(KeyVersion),
});

export const changeKeyVersion = endpoint({
  ...oneKey,
  method: 'PATCH',
  path: `${KEY_PATH}/versions/{version}`,
  action: 'key.changeVersion',
  summary:
    'Enable or disable a version of a key, or destroy its material. A disabled version does nothing until it is enabled. ' +
    'Destruction cannot be undone and needs the right to delete too; the newest version cannot be destroyed. The answer says ' +
    'how often the version was used. A dry run changes nothing.',
  statuses: [200],
  params: KeyParams.extend({ version: WholeNumber({ min: 1, max: Number.MAX_SAFE_INTEGER }) }),
  body: z.strictObject({ state: z.enum(keyVersionStates), dryRun: z.boolean().default(false) }),
  response: KeyVersion,
});

export const deleteKey = endpoint({
  ...oneKey,
  method: 'DELETE',
  path: KEY_PATH,
  action: 'key.delete',
  summary:
    'Delete a key that is not protected. It does nothing from now on, and is destroyed after `pendingDays` unless it is ' +
    'restored. Its uses in that time are refused and recorded. The answer says who used it last.',
  statuses: [202],
  query: z.strictObject({ pendingDays: WholeNumberOr(30, { min: 7, max: 30 }) }),
  body: z.undefined(),
  response: z.strictObject({
    name: KeyName,
    deleteAt: Time,
    lastUsedAt: Time.optional(),
    lastUsedBy: Who.optional(),
  }),
});

export const restoreKey = endpoint({
  ...oneKey,
  method: 'POST',
  path: `${KEY_PATH}:restore`,
  action: 'key.restore',
  summary: 'Take the deletion of a key back.',
  statuses: [200],
  body: z.undefined(),
  response: Key,
});

export const readJwks = endpoint({
  ...allKeys,
  auth: 'none',
  method: 'GET',
  path: `${KEYS_PATH}:jwks`,
  action: 'key.jwks',
  summary:
    'Read the public halves of the keys of a vault as a JWK Set (RFC 7517), if an owner has made it public (`publicJwks`): all ' +
    'enabled versions that still verify, the newest 1,000. A change shows within 10 seconds.',
  statuses: [200],
  conditional: true,
  body: z.undefined(),
  response: z.strictObject({ keys: z.array(z.record(z.string(), z.string())) }),
});
