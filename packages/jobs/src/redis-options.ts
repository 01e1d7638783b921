/** Connection options of ioredis and BullMQ. */
export interface RedisConnectionOptions {
  host?: string;
  port?: number;
  path?: string;
  username?: string;
  password?: string;
  db?: number;
  tls?: Record<string, never>;
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
