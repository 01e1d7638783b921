import { isAuditAction, maySubmit } from '@cardea/contracts/audit-actions';
import { AppError } from '@cardea/contracts/errors';
import type { CanonicalEvent } from './parse-append.ts';

/**
 * Each service submits its own actions and no others, so that whoever holds the certificate of one cannot have the log
 * say what another one did. An action that this version does not know belongs to nobody yet.
 * @throws AppError `access_denied` for the whole batch
 */
export function refuseForeignActions(peer: string, events: CanonicalEvent[]): void {
  const foreign = events.find(({ event }) => !maySubmit(peer, event.action));
  if (!foreign) return;
  const { action } = foreign.event;
  const resource = { name: action };
  if (!isAuditAction(action)) {
    const message = `this version does not know the action ${action}: upgrade audit-service before all others`;
    throw new AppError('access_denied', message, { resource, rule: 'unknown-action' });
  }
  const message = `${action} is not for ${peer} to submit`;
  throw new AppError('access_denied', message, { resource, rule: 'foreign-action', suspicious: 'wrong_peer' });
}
