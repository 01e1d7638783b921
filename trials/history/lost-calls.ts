import type { Operation, Question } from './operations.ts';

/** Calls that were lost and do the same, in the order of their invocations: the first may stand in for any other. */
export interface LostGroup {
  questions: Question[];
  invokedAt: number[];
}

/** Groups what was lost and may have changed something. */
export function groupLost(operations: Operation[]): LostGroup[] {
  const told = new Set(operations.flatMap(({ outcome }) => (outcome.is === 'read' ? [outcome.value] : [])));
  const sent = Map.groupBy(operations.flatMap(valueSent), (value) => value);
  // Values that are sent once and never read are all alike.
  const isUnknown = (value: string) => !told.has(value) && sent.get(value)!.length === 1;
  const lost = operations.filter(({ question, outcome }) => outcome.is === 'lost' && question.kind !== 'get');
  const groups = Map.groupBy(lost, ({ question }) => {
    const isAlike = question.kind === 'put' && isUnknown(question.value);
    return JSON.stringify(isAlike ? { ...question, value: undefined } : question);
  });
  return [...groups.values()].map((calls) => ({
    questions: calls.map(({ question }) => question),
    invokedAt: calls.map(({ invokedAt }) => invokedAt),
  }));
}

function valueSent({ question }: Operation): string[] {
  return question.kind === 'put' ? [question.value] : [];
}
