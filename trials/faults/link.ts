import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { AddressInfo, NetConnectOpts, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** What a link did to the connections that go through it. */
export interface Harm {
  /** Pieces of data that arrived late. */
  late: number;
  /** Connections that were cut or refused, also because nothing listens behind the link. */
  cut: number;
}

/** A proxy in front of a server, which can slow down, hold up and cut what goes through it. It passes on bytes unread. */
export interface Link {
  /** Where clients connect: the path of a unix socket, or `host:port`. */
  readonly address: string;
  readonly harm: Readonly<Harm>;
  /** Lets everything arrive so much later, in both directions. */
  delay(ms: number): void;
  /** Lets nothing arrive until `mend`, as a network that loses every packet. */
  stall(): void;
  /** Cuts all connections, and every new one until `mend`. */
  cut(): void;
  mend(): void;
  stop(): Promise<void>;
}

/** Starts a link to the server at `to`: the path of a unix socket, or `host:port`. The link listens at the same kind of address. */
export async function startLink(to: string): Promise<Link> {
  const harm: Harm = { late: 0, cut: 0 };
  const sockets = new Set<Socket>();
  let delayMs = 0;
  let isCut = false;
  let stalled: PromiseWithResolvers<void> | undefined;

  function accept(client: Socket): void {
    if (isCut) {
      harm.cut += 1;
      client.destroy();
      return;
    }
    const server = connect({ ...toConnect(to), allowHalfOpen: true });
    let isConnected = false;
    server.once('connect', () => (isConnected = true));
    server.once('error', () => isConnected || (harm.cut += 1));
    for (const socket of [client, server]) sockets.add(socket.setNoDelay(true));
    passOn(client, server);
    passOn(server, client);
  }

  function passOn(from: Socket, into: Socket): void {
    let last = Promise.resolve();
    const afterTheLast = (act: () => void) => {
      const [dueAt, isLate] = [performance.now() + delayMs, delayMs > 0 || stalled !== undefined];
      if (isLate) harm.late += 1;
      const before = last;
      last = (async () => {
        await before;
        if (isLate) await sleep(Math.max(0, dueAt - performance.now()));
        await stalled?.promise;
        act();
      })();
    };
    from.on('data', (bytes) => afterTheLast(() => into.write(bytes)));
    from.on('end', () => afterTheLast(() => into.end()));
    from.on('error', () => into.destroy());
    from.on('close', () => {
      sockets.delete(from);
      void last.then(() => into.destroySoon());
    });
  }

  const listener = createServer({ allowHalfOpen: true }, accept);
  const folder = to.startsWith('/') ? mkdtempSync(join(tmpdir(), 'cardea-link-')) : undefined;
  listener.listen(folder === undefined ? { host: '127.0.0.1', port: 0 } : { path: join(folder, basename(to)) });
  await once(listener, 'listening');
  const own = listener.address() as AddressInfo | string;

  function mend(): void {
    delayMs = 0;
    isCut = false;
    stalled?.resolve();
    stalled = undefined;
  }

  function cutAll(): void {
    harm.cut += sockets.size / 2;
    for (const socket of sockets) socket.destroy();
  }

  return {
    address: typeof own === 'string' ? own : `127.0.0.1:${own.port}`,
    harm,
    delay: (ms) => (delayMs = ms),
    stall: () => (stalled ??= Promise.withResolvers()),
    cut() {
      isCut = true;
      cutAll();
    },
    mend,
    async stop() {
      mend();
      cutAll();
      listener.close();
      await once(listener, 'close');
      if (typeof own === 'string') rmSync(dirname(own), { recursive: true, force: true });
    },
  };
}

function toConnect(to: string): NetConnectOpts {
  if (to.startsWith('/')) return { path: to };
  const [host = '', port] = to.split(':');
  return { host, port: Number(port) };
}
