import { z } from 'zod';
import { endpoint } from '../endpoint.ts';
import { Reason } from '../reason.ts';
import { SECRET_PATH, SecretValue, oneSecret } from './secret-shapes.ts';

export const breakGlass = endpoint({
  ...oneSecret,
  method: 'POST',
  path: `${SECRET_PATH}:breakGlass`,
  action: 'secret.breakGlass',
  summary:
    'Read a value for oversight, with a reason. The audit log flags the read, and the owners of the vault are told.',
  statuses: [200],
  body: z.strictObject({
    reason: Reason,
  }),
  response: SecretValue,
});
