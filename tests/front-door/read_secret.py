"""The Python side of generated-clients.test.ts: stores and reads a secret, and grants it to an application, with the client
that openapi-python-client has made. Writes what came of it as JSON."""

import json
import sys

from cardea_client import AuthenticatedClient
from cardea_client.api.grant import write_grant
from cardea_client.api.secret import read_secret, write_secret
from cardea_client.models import Grant, GrantInput, GrantInputSecretsItem, Secret, SecretInput, SecretWritten

base_url, token = sys.argv[1:]
sent = []
hooks = {"request": [lambda request: sent.append(request.url.raw_path.decode().split("?")[0])]}
client = AuthenticatedClient(base_url=base_url, token=token, httpx_args={"event_hooks": hooks})

written = write_secret.sync("clients", "db/python", client=client, body=SecretInput(value="from Python"))
assert isinstance(written, SecretWritten), written
read = read_secret.sync_detailed("clients", "db/password", client=client)
assert isinstance(read.parsed, Secret), read
rights = GrantInput(secrets=[GrantInputSecretsItem.READ], path_prefix="db")
grant = write_grant.sync("clients", "application:ci", client=client, body=rights)
assert isinstance(grant, Grant), grant
refused = read_secret.sync("clients", "db/none", client=client)
print(
    json.dumps(
        {
            "value": read.parsed.value,
            "requestId": read.headers["x-request-id"],
            "version": written.version,
            "principal": grant.principal,
            "code": refused.code,
            "sent": sent,
        }
    )
)
