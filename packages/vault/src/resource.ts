import type { AuditResource } from '@cardea/contracts/audit-event';

/** How a record names a principal: `user:alice` is a user, `application:ci` an application, anything else a name. */
export function principalResource(principal: string): Pick<AuditResource, 'user' | 'application' | 'name'> {
  const [, type, name] = /^(user|application):(.+)$/.exec(principal) ?? [];
  if (type === undefined) return { name: principal };
  return type === 'application' ? { application: name } : { user: name };
}

/** How a record names the question of `access.explain`. Its `name` is the action, and the secret or key if given. */
export function askedResource(question: {
  vault: string;
  principal: string;
  action: string;
  name?: string | undefined;
}): AuditResource {
  const { vault, principal, action, name } = question;
  return { vault, name: name === undefined ? action : `${action} ${name}`, ...principalResource(principal) };
}
