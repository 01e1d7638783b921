import type { Operation, Request } from './operations.ts';

/** Lost calls with the same effect, in the order of their invocations: the first can take the place of any other. */
export interface LostGroup {
  requests: Request[];
  invokedAt: number[];
}

/** Groups the lost calls that may have changed something. */
export function groupLost(operations: Operation[]): LostGroup[] {
  const read = new Set(operations.flatMap(({ outcome }) => (outcome.is === 'read' ? [outcome.value] : [])));
  const sent = Map.groupBy(operations.flatMap(valueSent), (value) => value);
  // Values that are sent once and never read are interchangeable.
  const isUnknown = (value: string) => !read.has(value) && sent.get(value)!.length === 1;
  const lost = operations.filter(({ request, outcome }) => outcome.is === 'lost' && request.kind !== 'get');
  const groups = Map.groupBy(lost, ({ request }) => {
    const isAlike = request.kind === 'put' && isUnknown(request.value);
    return JSON.stringify(isAlike ? { ...request, value: undefined } : request);
  });
  return [...groups.values()].map((calls) => ({
    requests: calls.map(({ request }) => request),
    invokedAt: calls.map(({ invokedAt }) => invokedAt),
  }));
}

function valueSent({ request }: Operation): string[] {
  return request.kind === 'put' ? [request.value] : [];
}
