import type { OlderRow, SealedRow } from '../deks/resealable.ts';

/** A listed row that does not open, and why. The reason never holds a value. */
export interface Failure {
  row: OlderRow;
  reason: string;
}

/** The rows of one vault that did not open in this run. */
export interface Failures {
  readonly count: number;
  add(kind: string, row: SealedRow): void;
  has(kind: string, row: Pick<SealedRow, 'id' | 'version'>): boolean;
  /** Whether a row that does not open is sealed under this DEK. */
  keepDek(dekVersion: number): boolean;
  /** The error of a DEK that does not open, so that it is not unwrapped again for each of its rows. */
  readonly ofDeks: Map<number, unknown>;
}

export function createFailures(): Failures {
  const dekOfRow = new Map<string, number>();
  return {
    get count() {
      return dekOfRow.size;
    },
    add: (kind, row) => void dekOfRow.set(keyOf(kind, row), row.dek_version),
    has: (kind, row) => dekOfRow.has(keyOf(kind, row)),
    keepDek: (dekVersion) => [...dekOfRow.values()].includes(dekVersion),
    ofDeks: new Map(),
  };
}

function keyOf(kind: string, { id, version }: Pick<SealedRow, 'id' | 'version'>): string {
  return `${kind} ${id} ${version}`;
}
