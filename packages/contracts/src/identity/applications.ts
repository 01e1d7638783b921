import { z } from 'zod';
import { Cidr } from '../cidr.ts';
import { endpoint } from '../endpoint.ts';
import { Page, PageOf, PlainName, PrintableText, Time } from '../names.ts';

export const Application = z.strictObject({
  clientId: z.uuid(),
  name: PlainName,
  description: z.string(),
  allowedCidrs: z.array(z.string()),
  disabled: z.boolean(),
  expiresAt: Time.optional(),
  createdAt: Time,
});

const Credential = z.strictObject({
  id: z.uuid(),
  expiresAt: Time.optional(),
  createdAt: Time,
  lastUsedAt: Time.optional(),
});
const Description = PrintableText({ max: 1024 });
const Cidrs = z.array(Cidr).max(64);
const ApplicationParams = z.object({ name: PlainName });
const common = { auth: 'bearer', query: z.strictObject({}) } as const;

export const createApplication = endpoint({
  ...common,
  method: 'POST',
  path: '/api/v1/applications',
  action: 'application.create',
  summary: 'Create an application. Its client secret is shown once.',
  statuses: [201],
  params: z.undefined(),
  body: z.strictObject({
    name: PlainName,
    description: Description.default(''),
    allowedCidrs: Cidrs.default([]),
    expiresAt: Time.optional(),
  }),
  response: Application.extend({ clientSecret: z.string() }),
});

export const listApplications = endpoint({
  ...common,
  method: 'GET',
  path: '/api/v1/applications',
  action: 'application.list',
  summary: 'List applications by name.',
  statuses: [200],
  params: z.undefined(),
  query: Page,
  body: z.undefined(),
  response: PageOf(Application),
});

export const readApplication = endpoint({
  ...common,
  method: 'GET',
  path: '/api/v1/applications/{name}',
  action: 'application.read',
  summary: 'Read an application.',
  statuses: [200],
  params: ApplicationParams,
  body: z.undefined(),
  response: Application,
});

export const changeApplication = endpoint({
  ...common,
  method: 'PATCH',
  path: '/api/v1/applications/{name}',
  action: 'application.change',
  summary:
    'Change the description, the networks or the expiry of an application, or disable or enable it. Takes effect with the next request.',
  statuses: [200],
  params: ApplicationParams,
  body: z.strictObject({
    description: Description.optional(),
    allowedCidrs: Cidrs.optional(),
    disabled: z.boolean().optional(),
    expiresAt: Time.nullable().optional(),
  }),
  response: Application,
});

export const deleteApplication = endpoint({
  ...common,
  method: 'DELETE',
  path: '/api/v1/applications/{name}',
  action: 'application.delete',
  summary: 'Delete an application with its credentials and grants.',
  statuses: [204],
  params: ApplicationParams,
  body: z.undefined(),
  response: z.undefined(),
});

export const createCredential = endpoint({
  ...common,
  method: 'POST',
  path: '/api/v1/applications/{name}/credentials',
  action: 'credential.create',
  summary:
    'Make a second client secret, to replace the first without downtime. An application has at most two that have not expired. The secret is shown once.',
  statuses: [201],
  params: ApplicationParams,
  body: z.strictObject({ expiresAt: Time.optional() }).optional(),
  response: Credential.extend({ clientSecret: z.string() }),
});

export const listCredentials = endpoint({
  ...common,
  method: 'GET',
  path: '/api/v1/applications/{name}/credentials',
  action: 'credential.list',
  summary:
    'List the client secrets of an application: when each was made, was last used and expires. The secrets are not shown.',
  statuses: [200],
  params: ApplicationParams,
  query: Page,
  body: z.undefined(),
  response: PageOf(Credential),
});

export const deleteCredential = endpoint({
  ...common,
  method: 'DELETE',
  path: '/api/v1/applications/{name}/credentials/{id}',
  action: 'credential.delete',
  summary: 'Withdraw a client secret. Every token that it gave stops working at once.',
  statuses: [204],
  params: z.object({ name: PlainName, id: z.uuid() }),
  body: z.undefined(),
  response: z.undefined(),
});
