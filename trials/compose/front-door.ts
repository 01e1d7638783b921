import { once } from 'node:events';
import { request } from 'node:https';
import type { IncomingMessage } from 'node:http';
import { buffer } from 'node:stream/consumers';

/** An answer of Cardea. */
export interface Answer {
  status: number;
  body: Buffer;
}

/** nginx of a stack, as a client outside sees it: over TLS, with the name and the CA of the stack. */
export interface FrontDoor {
  send(method: string, path: string, options?: { token?: string; body?: unknown }): Promise<Answer>;
}

/** A client of the nginx on this port of this machine. It knows `host` without DNS. */
export function frontDoorAt(port: number, host: string, ca: string): FrontDoor {
  return {
    async send(method, path, { token, body } = {}) {
      const headers: Record<string, string> = { Host: `${host}:${port}` };
      if (token !== undefined) headers['Authorization'] = `Bearer ${token}`;
      if (body !== undefined) headers['Content-Type'] = 'application/json';
      const address = { host: '127.0.0.1', port, servername: host, ca, agent: false } as const;
      const sent = request({ ...address, method, path: `/api/v1${path}`, headers });
      sent.end(body === undefined ? undefined : JSON.stringify(body));
      const [response] = (await once(sent, 'response')) as [IncomingMessage];
      return { status: response.statusCode!, body: await buffer(response) };
    },
  };
}
