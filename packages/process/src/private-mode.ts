import { chmodSync, statSync } from 'node:fs';
import type { Stats } from 'node:fs';

/**
 * True if only its owner can read and write a file, or only root and the group of this process. The second is how an
 * orchestrator gives a secret to a container that does not run as root: root owns the file, its mode is 0440, and the
 * process is in its group. Nobody but root can make such a file, so no umask makes one by accident.
 */
export function isPrivate({ mode, uid, gid }: Pick<Stats, 'mode' | 'uid' | 'gid'>, self = currentUser()): boolean {
  if ((mode & 0o077) === 0) return true;
  const givenByRoot = uid === 0 && self.uid !== 0 && self.groups.includes(gid);
  return givenByRoot && (mode & 0o037) === 0;
}

function currentUser(): { uid: number | undefined; groups: number[] } {
  return { uid: process.geteuid?.(), groups: [process.getegid?.(), ...(process.getgroups?.() ?? [])] as number[] };
}

/**
 * Takes the rights of other users of this machine to files and folders away, as a copy without `umask 077` or a restored
 * archive gives them, and says so in one line. It changes only what belongs to this user, and returns what belongs to
 * another user and stays open.
 */
export function closeToOthers(paths: string[], say: (line: string) => void): string[] {
  const open = paths.flatMap((path) => {
    const stats = statSync(path, { throwIfNoEntry: false });
    return stats === undefined || isPrivate(stats)
      ? []
      : [{ path, mode: stats.mode, isOwn: stats.uid === process.geteuid?.() }];
  });
  const own = open.filter(({ isOwn }) => isOwn);
  for (const { path, mode } of own) chmodSync(path, mode & 0o700);
  if (own.length > 0) {
    say(`other users of this machine could open ${own.map(({ path }) => path).join(', ')}: now only this user can`);
  }
  const others = open.filter(({ isOwn }) => !isOwn).map(({ path }) => path);
  if (others.length > 0) say(`other users of this machine can open ${others.join(', ')}, and another user owns it`);
  return others;
}
