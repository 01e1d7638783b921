import type { Ledger } from '../kill/ledger.ts';
import type { Checked } from './checks.ts';
import { totalKills } from './kills.ts';
import type { KillCounts } from './kills.ts';

/** The result of a trial. */
export interface Outcome {
  profile: string;
  kills: KillCounts;
  checked: Checked;
  changes: ReadonlyMap<string, number>;
  counts: Ledger['counts'];
  endedByItself: ReadonlyMap<string, number>;
  /** How long the fill, the kills and the checks took. */
  seconds: { fill: number; kills: number; checks: number };
}

/** Renders the result as a short table, for people. */
export function renderReport({ profile, kills, checked, changes, counts, endedByItself, seconds }: Outcome): string {
  const { rotations, last } = checked;
  const recoveries = kills.recoveriesMs.toSorted((a, b) => a - b);
  const median = recoveries[Math.floor(recoveries.length / 2)] ?? 0;
  const ofKind = (kind: string) => {
    const some = rotations.filter((rotation) => rotation.kind === kind);
    const finished = some.filter(({ state }) => state === 'finished');
    const done = some.reduce((sum, rotation) => sum + rotation.done, 0);
    return `${finished.length} finished, ${some.length - finished.length} cancelled; ${done}`;
  };
  const rows = [
    ['profile', profile],
    ['kills', `${totalKills(kills)} in ${seconds.kills.toFixed(0)} s: ${list(kills.killed)}`],
    ['ended itself', list(endedByItself) || 'none'],
    ['recovery', `median ${inSeconds(median)}, longest ${inSeconds(recoveries.at(-1) ?? 0)}`],
    ['changes', list(changes)],
    ['reads', `${counts.reads}; ${counts.refusals} answers were 404`],
    ['unknown', `${counts.cut} cut, ${counts.unavailable} answered 503 (and ${counts.unsent} could not connect)`],
    [
      'DEK rotations',
      `${ofKind('dek')} values resealed; ${checked.deksMade} DEKs made, ${checked.deksDestroyed} destroyed`,
    ],
    ['undisturbed', `${last.done} values resealed at ${last.rowsPerSecond} a second`],
    ['KEK rotations', `${ofKind('kek')} DEKs rewrapped; ${checked.keks} KEKs, all but the newest destroyed`],
    ['', `${kills.keksDestroyed} destroyed between the kills, ${kills.keksKept} times refused because it wrapped DEKs`],
    [
      'checked',
      `${checked.values} values read, ${checked.entries} entries, ${(checked.bytesSearched / 2 ** 20).toFixed(0)} MiB searched for keys and values`,
    ],
    ['', `fill ${seconds.fill.toFixed(0)} s, checks ${seconds.checks.toFixed(0)} s: nothing is lost`],
  ];
  return `\n${rows.map(([name = '', text = '']) => `${name.padEnd(15)}${text}\n`).join('')}`;
}

function list(counts: ReadonlyMap<string, number>): string {
  return [...counts].map(([name, count]) => `${name} ${count}`).join(', ');
}

function inSeconds(ms: number): string {
  return `${(ms / 1_000).toFixed(2)} s`;
}
