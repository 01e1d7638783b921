import {
  chmodSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Session, SessionStore } from '@cardea/client';
import { Failure } from './failure.ts';
import { lock, readIfThere } from './session-lock.ts';

/** The server of the last sign-in. */
export function currentUrl(): string | undefined {
  return readIfThere(join(folder(), 'server'))?.trim();
}

/** Remembers the server of a sign-in. */
export function rememberUrl(url: string): void {
  writePrivate(join(folder(), 'server'), `${url}\n`);
}

/**
 * The session of this user at a server. Only the refresh token is on disk, in a file that nobody else can read. Commands that
 * run at the same time refresh one after the other, because a refresh token works once.
 */
export function fileSession(url: string): SessionStore {
  const file = join(folder(), `${encodeURIComponent(url)}.session`);
  return {
    async exclusive(work) {
      makeFolder();
      const unlock = await lock(`${file}.lock`);
      try {
        return await work();
      } finally {
        unlock();
      }
    },
    async load() {
      const text = readIfThere(file);
      if (text === undefined) return undefined;
      refuseReadable(file);
      return { refreshToken: (JSON.parse(text) as Session).refreshToken };
    },
    async save(session) {
      if (session) writePrivate(file, JSON.stringify({ refreshToken: session.refreshToken }));
      else rmSync(file, { force: true });
    },
  };
}

/** `$XDG_STATE_HOME/cardea`. */
function folder(): string {
  const state = process.env['XDG_STATE_HOME'];
  return join(state === undefined || state === '' ? join(homedir(), '.local', 'state') : state, 'cardea');
}

/** Writes a file whole or not at all, and returns once it is on disk. */
function writePrivate(file: string, text: string): void {
  makeFolder();
  const draft = `${file}.${process.pid}`;
  try {
    const handle = openSync(draft, 'w', 0o600);
    try {
      writeFileSync(handle, text);
      fsyncSync(handle);
    } finally {
      closeSync(handle);
    }
    renameSync(draft, file);
  } catch (error) {
    // It has a refresh token in it.
    rmSync(draft, { force: true });
    throw error;
  }
  syncFolder();
}

function makeFolder(): void {
  mkdirSync(folder(), { recursive: true, mode: 0o700 });
  chmodSync(folder(), 0o700);
}

/** After this a file that was renamed has its new name even if the machine loses its power. */
function syncFolder(): void {
  const handle = openSync(folder(), 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

function refuseReadable(file: string): void {
  const mode = statSync(file).mode & 0o777;
  if ((mode & 0o077) === 0) return;
  throw new Failure(
    `others can read ${file} (mode ${mode.toString(8)}), and may have a copy of the session. End it: ` +
      `chmod 600 ${file}, then cardea logout, then cardea login`,
  );
}
