import { isAuditAction, mayActFor, maySubmit } from '@cardea/contracts/audit-actions';
import { AppError } from '@cardea/contracts/errors';
import type { CanonicalEvent } from './parse-append.ts';

/**
 * Refuses a batch with an action or an actor that its peer may not submit. Each service submits only its own actions, so
 * a stolen certificate of one service cannot make records about another. No service may submit an action that is unknown
 * here.
 * @throws AppError `access_denied` for the whole batch
 */
export function refuseForeignActions(peer: string, events: CanonicalEvent[]): void {
  const foreign = events.find(({ event }) => !maySubmit(peer, event));
  if (!foreign) return refuseForeignActors(peer, events);
  const { action } = foreign.event;
  const resource = { name: action };
  if (!isAuditAction(action)) {
    const message = `this version does not know the action ${action}: upgrade audit-service before the other services`;
    throw new AppError('access_denied', message, { resource, rule: 'unknown-action' });
  }
  const message = `${peer} may not submit ${action}`;
  throw new AppError('access_denied', message, { resource, rule: 'foreign-action', suspicious: 'wrong_peer' });
}

function refuseForeignActors(peer: string, events: CanonicalEvent[]): void {
  const foreign = events.find(({ event }) => !mayActFor(peer, event.actor.type));
  if (!foreign) return;
  const { action, actor } = foreign.event;
  const message = `${peer} may not submit ${action} as done by an actor of type ${actor.type}`;
  const resource = { name: action };
  throw new AppError('access_denied', message, { resource, rule: 'foreign-actor', suspicious: 'wrong_peer' });
}
