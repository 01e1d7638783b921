const VALUE = 'x'.repeat(64);

/** Signs in as the first admin and writes the secret that a benchmark reads. Returns the access token. */
export async function prepare({ url, password }: { url: string; password: string }): Promise<string> {
  const post = (path: string, body: object, token = '') =>
    fetch(`${url}/api/v1${path}`, {
      method: path.includes('secrets') ? 'PUT' : 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      body: JSON.stringify(body),
    });
  const login = (await (await post('/auth/login', { username: 'admin', password })).json()) as { access_token: string };
  await post('/vaults', { name: 'bench' }, login.access_token);
  await post('/vaults/bench/secrets/db/password', { value: VALUE }, login.access_token);
  return login.access_token;
}
