import { z } from 'zod';
import { endpoint } from '../endpoint.ts';
import { SECRET_PATH, SecretSummary, oneSecret } from './secret-shapes.ts';

export const deleteSecret = endpoint({
  ...oneSecret,
  method: 'DELETE',
  path: SECRET_PATH,
  action: 'secret.delete',
  conditional: true,
  summary: 'Put a secret into the trash. `Cardea-Dependants` says how many references point to it.',
  statuses: [204],
  body: z.undefined(),
  response: z.undefined(),
});

export const restoreSecret = endpoint({
  ...oneSecret,
  method: 'POST',
  path: `${SECRET_PATH}:restore`,
  action: 'secret.restore',
  conditional: true,
  summary: 'Take a secret out of the trash.',
  statuses: [200],
  body: z.undefined(),
  response: SecretSummary,
});

export const purgeSecret = endpoint({
  ...oneSecret,
  method: 'POST',
  path: `${SECRET_PATH}:purge`,
  action: 'secret.purge',
  conditional: true,
  summary: 'Remove a secret with all its versions, in the trash or not. There is no way back.',
  statuses: [204],
  body: z.undefined(),
  response: z.undefined(),
});
