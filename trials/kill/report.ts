import type { Checked } from './checks.ts';
import { totalKills } from './kills.ts';
import type { Toll } from './kills.ts';
import type { Ledger } from './ledger.ts';

/** What a trial came to. */
export interface Outcome {
  toll: Toll;
  checked: Checked;
  /** Of the reads, those that were not load but checks. */
  readBack: number;
  counts: Ledger['counts'];
  endedAlone: Map<string, number>;
  seconds: number;
}

/** A short table, for people. */
export function renderReport({ toll, checked, readBack, counts, endedAlone, seconds }: Outcome): string {
  const killed = Object.entries(toll.killed).map(([name, count]) => `${name} ${count}`);
  const alone = [...endedAlone].map(([how, count]) => `${how}, ${count} times`);
  const recoveries = toll.recoveriesMs.toSorted((a, b) => a - b);
  const median = recoveries[Math.floor(recoveries.length / 2)] ?? 0;
  const rows = [
    ['kills', `${totalKills(toll)} in ${seconds.toFixed(0)} s: ${killed.join(', ')}`],
    ['', `two at once ${toll.twoAtOnce} times, during a recovery ${toll.duringRecovery} times`],
    ['ended alone', alone.join('; ') || 'none'],
    [
      'acknowledged',
      `${counts.writes} writes, ${counts.reads - readBack} reads, ${counts.others} others, ${counts.refusals} 404`,
    ],
    ['unknown', `${counts.cut} cut, ${counts.unavailable} answered 503 (and ${counts.unsent} found nobody)`],
    ['recovery', `median ${(median / 1000).toFixed(2)} s, longest ${((recoveries.at(-1) ?? 0) / 1000).toFixed(2)} s`],
    [
      'checked',
      `${checked.entries} entries, ${checked.versions} versions of ${checked.secrets} secrets: nothing is lost`,
    ],
  ];
  return `\n${rows.map(([name = '', text = '']) => `${name.padEnd(14)}${text}\n`).join('')}`;
}
