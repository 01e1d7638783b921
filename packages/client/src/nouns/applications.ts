import type * as applications from '@cardea/contracts/identity/applications';
import { call } from '../call.ts';
import type { BodyOf } from '../call.ts';
import { listOf } from '../pages.ts';
import type { ListOptions } from '../pages.ts';
import type { Sender } from '../sender.ts';
import type { CallOptions } from '../transport.ts';

const calls = {
  create: call<typeof applications.createApplication>('POST', '/applications'),
  list: call<typeof applications.listApplications>('GET', '/applications'),
  get: call<typeof applications.readApplication>('GET', '/applications/{name}'),
  change: call<typeof applications.changeApplication>('PATCH', '/applications/{name}'),
  delete: call<typeof applications.deleteApplication>('DELETE', '/applications/{name}'),
  createCredential: call<typeof applications.createCredential>('POST', '/applications/{name}/credentials'),
  credentials: call<typeof applications.listCredentials>('GET', '/applications/{name}/credentials'),
  deleteCredential: call<typeof applications.deleteCredential>('DELETE', '/applications/{name}/credentials/{id}'),
};

/** Applications and their client secrets, for admins. */
export function applicationCalls(sender: Sender) {
  return {
    /** The client secret in the answer is shown once. */
    create: (application: BodyOf<typeof applications.createApplication>, options?: CallOptions) =>
      sender.body(calls.create, { body: application }, options),

    list: (options?: ListOptions) => listOf(sender, calls.list, {}, options),

    get: (name: string, options?: CallOptions) => sender.body(calls.get, { params: { name } }, options),

    change: (name: string, changes: BodyOf<typeof applications.changeApplication>, options?: CallOptions) =>
      sender.body(calls.change, { params: { name }, body: changes }, options),

    delete: (name: string, options?: CallOptions) => sender.body(calls.delete, { params: { name } }, options),

    /** Makes a second client secret, to replace the first without downtime. It is shown once. */
    createCredential: (name: string, { expiresAt, ...options }: CallOptions & { expiresAt?: string } = {}) =>
      sender.body(calls.createCredential, { params: { name }, ...(expiresAt ? { body: { expiresAt } } : {}) }, options),

    credentials: (name: string, options?: ListOptions) =>
      listOf(sender, calls.credentials, { params: { name } }, options),

    deleteCredential: (name: string, id: string, options?: CallOptions) =>
      sender.body(calls.deleteCredential, { params: { name, id } }, options),
  };
}
