const VALUE = 'x'.repeat(64);

/** Signs in as the first admin. Returns the access token, which may be used for 5 minutes. */
export async function signIn({ url, password }: { url: string; password: string }): Promise<string> {
  const answer = await fetch(`${url}/api/v1/auth/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ username: 'admin', password }),
  });
  return ((await answer.json()) as { access_token: string }).access_token;
}

/** Signs in as the first admin and writes the secret that a benchmark reads. Returns the access token. */
export async function prepare(cardea: { url: string; password: string }): Promise<string> {
  const token = await signIn(cardea);
  const post = (path: string, body: object) =>
    fetch(`${cardea.url}/api/v1${path}`, {
      method: path.includes('secrets') ? 'PUT' : 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      body: JSON.stringify(body),
    });
  await post('/vaults', { name: 'bench' });
  await post('/vaults/bench/secrets/db/password', { value: VALUE });
  return token;
}
