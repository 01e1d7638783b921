/**
 * Runs in the container of an api-service: makes a secret for the webhook that rotates the KEK, as the first admin with
 * the first password, and prints it. Prints nothing if that password has been changed: an admin then makes the secret.
 */
import { readIfThere } from '@cardea/process/durable-file';

const api = 'http://127.0.0.1:8400/api/v1';

const password = await readIfThere('/data/initial-admin-password');
if (password !== undefined) {
  const { access_token: token } = await post('/auth/login', { username: 'admin', password: password.trim() });
  const { secret } = await post('/webhooks/kek-rotation/secrets', undefined, token);
  process.stdout.write(`${secret}\n`);
  await post('/auth/logout', undefined, token);
}

async function post(path: string, body?: unknown, token?: string): Promise<Record<string, string>> {
  const answer = await fetch(`${api}${path}`, {
    method: 'POST',
    headers: {
      ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
      ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`POST ${path} answered ${answer.status}: ${text}`);
  return text === '' ? {} : (JSON.parse(text) as Record<string, string>);
}
