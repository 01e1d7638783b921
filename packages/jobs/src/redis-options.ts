/** A Redis, and how to log in to it. */
export interface RedisServer {
  /** See `parseRedisUrl`. */
  url: string;
  /** Takes the place of a password in the URL. */
  password?: string | undefined;
  /** The certificates (PEM) that may have signed that of the server. For `rediss://` only. */
  ca?: string | undefined;
}

/** Connection options of ioredis and BullMQ. */
export interface RedisConnectionOptions {
  host?: string;
  port?: number;
  path?: string;
  username?: string;
  password?: string;
  db?: number;
  tls?: { ca?: string };
  connectTimeout?: number;
  keepAlive?: number;
}

const CONNECT_WITHIN_MS = 5_000;
const KEEP_ALIVE_MS = 10_000;

/** The options for a connection to this Redis. With TLS, its certificate must name the host of the URL. */
export function connectionTo({ url, password, ca }: RedisServer): RedisConnectionOptions {
  const options = parseRedisUrl(url);
  return {
    ...options,
    connectTimeout: CONNECT_WITHIN_MS,
    keepAlive: KEEP_ALIVE_MS,
    ...(password === undefined ? {} : { password }),
    ...(options.tls && ca !== undefined ? { tls: { ca } } : {}),
  };
}

/**
 * Reads `redis://user:password@host:6379/0`, `rediss://…` (TLS) or, for a unix socket, `unix:///run/redis.sock?db=0`.
 * @throws Error for any other scheme. The message does not contain the URL, which may hold a password.
 */
export function parseRedisUrl(redisUrl: string): RedisConnectionOptions {
  const url = URL.canParse(redisUrl) ? new URL(redisUrl) : undefined;
  if (url?.protocol === 'unix:')
    return { path: decodeURIComponent(url.pathname), ...credentials(url), ...database(url) };
  if (url?.protocol !== 'redis:' && url?.protocol !== 'rediss:') {
    throw new Error('a Redis URL must begin with redis://, rediss:// or unix://');
  }
  const tls = url.protocol === 'rediss:' ? { tls: {} } : {};
  const host = url.hostname.replace(/^\[|\]$/g, '');
  return { host, port: Number(url.port || 6379), ...tls, ...credentials(url), ...database(url) };
}

function credentials(url: URL): { username?: string; password?: string } {
  return {
    ...(url.username && { username: decodeURIComponent(url.username) }),
    ...(url.password && { password: decodeURIComponent(url.password) }),
  };
}

function database(url: URL): { db?: number } {
  const text = url.protocol === 'unix:' ? url.searchParams.get('db') : url.pathname.slice(1);
  return text ? { db: Number(text) } : {};
}
