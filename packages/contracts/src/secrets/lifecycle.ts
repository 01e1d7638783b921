import { z } from 'zod';
import { endpoint } from '../endpoint.ts';
import { SECRET_PATH, SecretSummary, Version, oneSecret } from './secret-shapes.ts';

export const deleteSecret = endpoint({
  ...oneSecret,
  method: 'DELETE',
  path: SECRET_PATH,
  action: 'secret.delete',
  conditional: true,
  summary:
    'Put a secret into the trash. The header `Cardea-Dependants` has the number of references to it that the caller ' +
    'may list, up to 1,000.',
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
  summary:
    'Restore a secret from the trash. `nextWrite` in the answer says which of the restored versions the next write puts ' +
    'back into the trash or destroys, because there are more versions than the limit.',
  statuses: [200],
  body: z.undefined(),
  response: SecretSummary.extend({
    nextWrite: z.strictObject({ toTrash: z.array(Version), destroyed: z.array(Version) }).optional(),
  }),
});

export const purgeSecret = endpoint({
  ...oneSecret,
  method: 'POST',
  path: `${SECRET_PATH}:purge`,
  action: 'secret.purge',
  conditional: true,
  summary:
    'Purge a secret with all its versions, in the trash or not. This cannot be undone. The header `Cardea-Dependants` ' +
    'is that of a deletion.',
  statuses: [204],
  body: z.undefined(),
  response: z.undefined(),
});
