import type { TestSystem } from '@cardea/testkit/system';

/** The records of an action, newest first: `allow payments/db/password`, or the user or application that it was about. */
export async function recordsOfAction(system: TestSystem, action: string): Promise<string[]> {
  const entries = await (await system.as('admin')).auditEntries({ action });
  return entries.map(({ event: { decision, resource = {} } }) => {
    const { vault, name, user, application } = resource;
    return `${decision} ${[vault, name, user, application].filter((part) => part !== undefined).join('/')}`;
  });
}
