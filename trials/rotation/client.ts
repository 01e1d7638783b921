import { setTimeout as sleep } from 'node:timers/promises';
import type { Session } from '../kill/client.ts';
import type { Answer, FrontDoor, HttpRequest } from '../kill/front-door.ts';
import type { Ledger, NoteOptions } from '../kill/ledger.ts';

const API = '/api/v1';
// A client that is refused or cannot connect waits a moment, as a real client would.
const AFTER_FAILURE_MS = 50;

/** One client with its own connection. Every answer is noted in the ledger. */
export interface Client {
  /**
   * Sends a request once. Returns undefined if it is unknown whether it was done: 503, or no answer.
   * @throws Violation for an answer that must not occur
   */
  ask(action: string, request: HttpRequest, options?: NoteOptions): Promise<Answer | undefined>;
  /** Sends a request again and again until it is answered. */
  insist(action: string, request: HttpRequest, options?: NoteOptions): Promise<Answer>;
  /** Writes the whole audit log into a file as a tar. */
  exportAuditLog(file: string): Promise<void>;
  close(): void;
}

/** Makes a client. `path` in its requests begins after `/api/v1`. All clients of a trial share one session. */
export function createClient(door: FrontDoor, { ledger, session }: { ledger: Ledger; session: Session }): Client {
  async function ask(action: string, request: HttpRequest, options?: NoteOptions): Promise<Answer | undefined> {
    const token = action === 'auth.login' ? undefined : session.token;
    return ledger.note(action, await door.send({ token, ...request, path: API + request.path }), options);
  }

  return {
    ask,
    async insist(action, request, options) {
      for (;;) {
        const answer = await ask(action, request, options);
        if (answer) return answer;
        await sleep(AFTER_FAILURE_MS);
      }
    },
    async exportAuditLog(file) {
      const request: HttpRequest = { method: 'GET', path: `${API}/audit/export`, token: session.token };
      ledger.note('audit.export', await door.download(request, file));
    },
    close: () => door.close(),
  };
}

/** The fields of a JSON answer that the trial reads. */
export function bodyOf<T>({ text }: Answer): T {
  return JSON.parse(text) as T;
}
