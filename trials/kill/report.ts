import type { Checked } from './checks.ts';
import { totalKills } from './kills.ts';
import type { KillCounts } from './kills.ts';
import type { Ledger } from './ledger.ts';

/** The result of a trial. */
export interface Outcome {
  killCounts: KillCounts;
  checked: Checked;
  /** How many of the reads were made by the checks and not by the load. */
  readBack: number;
  counts: Ledger['counts'];
  endedByItself: Map<string, number>;
  seconds: number;
}

/** Renders the result as a short table, for people. */
export function renderReport({ killCounts, checked, readBack, counts, endedByItself, seconds }: Outcome): string {
  const killed = Object.entries(killCounts.killed).map(([name, count]) => `${name} ${count}`);
  const alone = [...endedByItself].map(([how, count]) => `${how}, ${count} times`);
  const recoveries = killCounts.recoveriesMs.toSorted((a, b) => a - b);
  const median = recoveries[Math.floor(recoveries.length / 2)] ?? 0;
  const rows = [
    ['kills', `${totalKills(killCounts)} in ${seconds.toFixed(0)} s: ${killed.join(', ')}`],
    ['', `two at once ${killCounts.twoAtOnce} times, during a recovery ${killCounts.duringRecovery} times`],
    ['ended itself', alone.join('; ') || 'none'],
    [
      'acknowledged',
      `${counts.writes} writes, ${counts.reads - readBack} reads, ${counts.others} others, ${counts.refusals} 404`,
    ],
    ['unknown', `${counts.cut} cut, ${counts.unavailable} answered 503 (and ${counts.unsent} could not connect)`],
    ['recovery', `median ${(median / 1000).toFixed(2)} s, longest ${((recoveries.at(-1) ?? 0) / 1000).toFixed(2)} s`],
    [
      'checked',
      `${checked.entries} entries, ${checked.versions} versions of ${checked.secrets} secrets: nothing is lost`,
    ],
  ];
  return `\n${rows.map(([name = '', text = '']) => `${name.padEnd(14)}${text}\n`).join('')}`;
}
