import { z } from 'zod';
import { endpoint } from './endpoint.ts';
import { Time } from './names.ts';

const Count = z.int().min(0);

const Kek = z.strictObject({
  version: z.int().positive(),
  state: z.enum(['enabled', 'decrypt-only', 'destroyed']),
  createdAt: Time,
});

const Deks = z.strictObject({
  active: Count,
  /** Old DEKs that still seal values. */
  retiring: Count,
  /** When the oldest active DEK was made. */
  oldestActiveSince: Time.optional(),
  /** When the active DEK that has been in use for the longest was used first. */
  oldestUsedSince: Time.optional(),
  /** How many DEKs each KEK wraps. */
  byKek: z.array(z.strictObject({ kekVersion: z.int().positive(), count: Count })),
});

/** One kind of work that becomes due by itself. `since` is absent if nothing is due. */
const Due = z.strictObject({ kind: z.string(), since: Time.optional(), lagSeconds: z.number().min(0) });

const Audit = z.strictObject({
  entries: Count,
  /** How many entries the newest checkpoint covers. */
  signed: Count,
  /** When the first entry without a checkpoint was written. */
  unsignedSince: Time.optional(),
  /** Records of changes that wait to be sent to the log. */
  waiting: Count,
});

export const Status = z.strictObject({
  now: Time,
  /** What is late or does not answer, by its name in this answer. Empty if all is on time. */
  late: z.array(z.string()),
  seal: z.enum(['open', 'sealed', 'unreachable']),
  /** Absent if kek-service does not answer. */
  keks: z.array(Kek).optional(),
  deks: Deks,
  /** Rotations that are running or paused. */
  rotations: z.strictObject({ open: Count, oldestStartedAt: Time.optional() }),
  due: z.array(Due),
  /** Jobs that are due and have not begun. Absent if Redis does not answer. */
  jobs: z.array(z.strictObject({ job: z.string(), waiting: Count })).optional(),
  audit: Audit,
});

export type Status = z.output<typeof Status>;

export const readStatus = endpoint({
  method: 'GET',
  path: '/api/v1/status',
  action: 'status.read',
  summary: 'Whether keys, due work and the audit log are on time, at a glance. For admin and ceo.',
  auth: 'bearer',
  statuses: [200],
  params: z.undefined(),
  query: z.strictObject({}),
  body: z.undefined(),
  response: Status,
});
