import { Client } from 'pg';

/** Creates a database with a name of its own on a server. Returns its URL and its name. */
export async function createDatabase(serverUrl: string): Promise<{ url: string; name: string }> {
  const name = `test_${crypto.randomUUID().replaceAll('-', '')}`;
  await runSql(serverUrl, `create database ${name}`);
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  return { url: url.href, name };
}

/** Runs SQL on a new connection, without the adapter. */
export async function runSql(url: string, sql: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}
