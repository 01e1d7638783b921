import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Caller } from '@cardea/contracts/caller';
import type { Endpoint } from '@cardea/contracts/endpoint';
import { AppError } from '@cardea/contracts/errors';
import type { Refusal } from '@cardea/contracts/refusal';
import type { Logger } from '@cardea/process/logger';
import type { Metrics } from '@cardea/process/metrics';
import type { Admitted, Bounds } from './bounds.ts';
import type { CallerLanes } from './caller-lanes.ts';
import type { FindCaller, Route } from './route.ts';

/** What a server needs to answer requests, through Express or the hot path. */
export interface ServerContext {
  logger: Logger;
  metrics: Metrics;
  /** The verified caller. `find` looks up the account of a token. @throws AppError `unauthenticated` */
  identify(req: IncomingMessage, endpoint: Endpoint, requestId: string, find?: FindCaller): Promise<Caller>;
  /** The caller as far as it is known without trusting any claim of the request. */
  stranger(req: IncomingMessage, requestId: string): Caller;
  /**
   * Lets a caller without identity go on, unless too many of their requests were refused. Nobody is dropped without it.
   * @throws AppError `rate_limited`
   */
  admitStranger?(stranger: Caller): void;
  /** Records a refusal. Resolves once the record is durable. @throws AppError `unavailable` */
  recordRefusal(refusal: Refusal): Promise<void>;
  /** Turns an error of a package that knows no HTTP into an error that a client may see. */
  translate(error: unknown): AppError | undefined;
  /** What callers may have under way. A server of services has none: they are few, and bound what they send. */
  bounds?: Bounds;
  /** How many requests of a caller are handled at once. A server of services has none, for the same reason. */
  lanes?: CallerLanes;
  /** Calls that wait in no lane: with them, the owner of an account ends what a thief has under way. */
  outsideLanes?: ReadonlySet<Endpoint>;
  /**
   * Lets others in before a long list is written for a caller, and between the steps of reading a long body, if such work
   * has kept the event loop for long. Undefined if it has not. A server of services has none: they ask for few lists.
   */
  letOthersIn?(key: string): Promise<void> | undefined;
  /**
   * How long a client may take nothing of its answer, in milliseconds. Services wait without a limit: they follow each
   * other's states in answers that never end.
   */
  unreadMsMax?: number;
}

/** One request that is being answered. */
export interface Exchange {
  req: IncomingMessage;
  res: ServerResponse;
  requestId: string;
  startedAt: number;
  route?: Route;
  caller?: Caller;
  params?: Record<string, string>;
  /** As the contract has parsed it. */
  body?: unknown;
  /** What the request holds until it is answered. */
  admitted?: Admitted | undefined;
  /** Headers of every answer that are not yet set on `res`. */
  headers?: Record<string, string>;
}

export function beginExchange(req: IncomingMessage, res: ServerResponse): Exchange {
  return { req, res, requestId: crypto.randomUUID(), startedAt: performance.now() };
}
