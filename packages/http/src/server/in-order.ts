import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

const safeMethods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE']);

interface Turn {
  req: IncomingMessage;
  res: ServerResponse;
  isSafe: boolean;
  hasBegun: boolean;
}

/**
 * Answers the requests of one connection in the order in which they came. A client may send several without waiting
 * (pipelining), and Node hands out all of them at once. Only safe ones may be answered together (RFC 9112 section
 * 9.3.2): behind a PUT a GET must show what was put, and behind a sign-out it must be refused.
 */
export function inOrder(listener: RequestListener): RequestListener {
  return (req, res) => {
    if (ignored.has(req.socket)) return;
    const turns = turnsOf(req.socket);
    const turn = { req, res, isSafe: safeMethods.has(req.method ?? ''), hasBegun: false };
    turns.push(turn);
    res.once('close', () => {
      turns.splice(turns.indexOf(turn), 1);
      beginNext(turns, listener);
    });
    beginNext(turns, listener);
  };
}

/** Resolves once every whole request of a connection is answered, or the connection is closed. */
export async function whenAnswered(socket: Duplex): Promise<void> {
  const whole = (connections.get(socket) ?? []).filter(({ req }) => req.complete);
  if (whole.length === 0) return;
  await new Promise<void>((resolve) => {
    socket.once('close', resolve);
    const answered = whole.map(({ res }) => new Promise((done) => res.once('close', done)));
    void Promise.all(answered).then(() => resolve());
  });
}

/** Begins no request of a connection: another answer is on its way to it. */
export function ignoreRequests(socket: Duplex): void {
  ignored.add(socket);
}

const ignored = new WeakSet<Duplex>();

// In the order in which they came.
const connections = new WeakMap<Duplex, Turn[]>();

function turnsOf(socket: Duplex): Turn[] {
  let turns = connections.get(socket);
  if (!turns) connections.set(socket, (turns = []));
  return turns;
}

function beginNext(turns: Turn[], listener: RequestListener): void {
  for (const [index, turn] of turns.entries()) {
    const mayBegin = turn.isSafe ? turns.slice(0, index).every(({ isSafe }) => isSafe) : index === 0;
    if (!mayBegin) return;
    if (turn.hasBegun) continue;
    turn.hasBegun = true;
    // Nothing is done for a client that an answer has told to close, and that cannot get this answer.
    if (turn.req.socket.writable) listener(turn.req, turn.res);
  }
}
