import { z } from 'zod';
import { endpoint } from './endpoint.ts';
import { Page, PageOf, PlainName, Time, WholeNumber } from './names.ts';

const Kind = z.enum(['dek', 'kek']);
const Count = z.int().min(0);

const Rotation = z.strictObject({
  id: z.uuid(),
  kind: Kind,
  state: z.enum(['running', 'paused', 'cancelled', 'finished']),
  /** Values to seal again, or DEKs to rewrap. Grows while the vaults are counted. */
  total: Count,
  done: Count,
  failed: Count,
  /** Of a KEK rotation: the version that it has made. */
  kekVersion: z.int().positive().optional(),
  rowsPerSecond: z.number().min(0),
  /** Only while it runs and has done something. */
  estimatedEnd: Time.optional(),
  startedAt: Time,
  /** `user:<id>`, or `service:cardea` for the schedule. */
  startedBy: z.string(),
  finishedAt: Time.optional(),
});

const Failure = z.strictObject({
  /** What does not open: `secret-version`, `totp`, `signing-key`, `dek` … */
  kind: z.string(),
  /** Absent for what the system seals for itself. */
  vault: z.string().optional(),
  /** The id of the secret, the user or the key; of a DEK the id of its vault. */
  id: z.string(),
  name: z.string().optional(),
  version: z.int().positive().optional(),
  dekVersion: Count.optional(),
  reason: z.string(),
  foundAt: Time,
});

const RotationParams = z.object({ id: z.uuid() });

const read = { method: 'GET', auth: 'bearer', statuses: [200], body: z.undefined() } as const;

export const startRotation = endpoint({
  method: 'POST',
  path: '/api/v1/rotations',
  action: 'rotation.start',
  summary:
    'Rotate the DEK of one vault, the DEKs of all vaults, or the KEK. At most one KEK rotation is open, and one starts within 5 minutes: another call answers the id of that one.',
  auth: 'bearer',
  statuses: [202],
  params: z.undefined(),
  query: z.strictObject({}),
  body: z
    .strictObject({ kind: Kind, vault: PlainName.optional() })
    .refine(({ kind, vault }) => kind === 'dek' || vault === undefined, {
      path: ['vault'],
      message: 'must be left out: the KEK belongs to no vault',
    })
    .meta({ override: { anyOf: [{ properties: { kind: { const: 'dek' } } }, { not: { required: ['vault'] } }] } }),
  response: z.strictObject({ id: z.uuid() }),
});

export const listRotations = endpoint({
  ...read,
  path: '/api/v1/rotations',
  action: 'rotation.list',
  summary: 'The rotations, the newest first.',
  params: z.undefined(),
  query: Page,
  response: PageOf(Rotation),
});

export const readRotation = endpoint({
  ...read,
  path: '/api/v1/rotations/{id}',
  action: 'rotation.read',
  summary: 'How far a rotation is, and the first 100 rows that it could not open.',
  params: RotationParams,
  query: z.strictObject({}),
  response: Rotation.extend({ failures: z.array(Failure) }),
});

const steer = {
  method: 'POST',
  auth: 'bearer',
  statuses: [200],
  params: RotationParams,
  query: z.strictObject({}),
  body: z.strictObject({}).optional(),
  response: Rotation,
} as const;

export const pauseRotation = endpoint({
  ...steer,
  path: '/api/v1/rotations/{id}:pause',
  action: 'rotation.pause',
  summary: 'Pause a running rotation. All values stay readable.',
});

export const resumeRotation = endpoint({
  ...steer,
  path: '/api/v1/rotations/{id}:resume',
  action: 'rotation.resume',
  summary: 'Let a paused rotation go on.',
});

export const cancelRotation = endpoint({
  ...steer,
  path: '/api/v1/rotations/{id}:cancel',
  action: 'rotation.cancel',
  summary: 'End a rotation. The old and the new keys stay, and the next rotation does what is left.',
});

export const listKekVersions = endpoint({
  ...read,
  path: '/api/v1/keks',
  action: 'kek.list',
  summary: 'The versions of the KEK, the oldest first, and how many DEKs each wraps.',
  params: z.undefined(),
  query: z.strictObject({}),
  response: z.strictObject({
    items: z.array(
      z.strictObject({
        version: z.int().positive(),
        /** Only the newest is enabled. */
        state: z.enum(['enabled', 'decrypt-only', 'destroyed']),
        deks: Count,
        createdAt: Time,
        /** The rotation that made it. Absent for the first KEK of a keyring. */
        rotation: z.uuid().optional(),
      }),
    ),
  }),
});

export const destroyKekVersion = endpoint({
  method: 'POST',
  path: '/api/v1/keks/{version}:destroy',
  action: 'kek.destroy',
  summary:
    'Destroy a KEK that wraps no DEK. Backups of the database from before its rotation can never be opened again.',
  auth: 'bearer',
  statuses: [204],
  params: z.object({ version: WholeNumber({ min: 1, max: 0xffff_ffff }) }),
  query: z.strictObject({}),
  body: z.strictObject({}).optional(),
  response: z.undefined(),
});
