// openid-client, which finds the endpoints in the metadata.
import * as client from 'openid-client';
import { alg, clientId, me, privateKey, refreshToken, scope, secret, tell, url } from './script.mjs';

const config = await client.discovery(
  new URL(url),
  clientId,
  secret,
  alg ? client.PrivateKeyJwt(await privateKey()) : undefined,
  { algorithm: 'oauth2', execute: [client.allowInsecureRequests] }, // the latter for http:// alone
);
let token;

function call() {
  return client.fetchProtectedResource(config, token, new URL(me), 'GET');
}

await tell('openid-client', {
  token: async () => {
    const granted = await client.clientCredentialsGrant(config, { scope });
    token = granted.access_token;
    return granted;
  },
  call: async () => (await call()).json(),
  refresh: () => client.refreshTokenGrant(config, refreshToken),
  introspect: () => client.tokenIntrospection(config, token),
  revoke: async () => {
    await client.tokenRevocation(config, token);
    return call().then((answer) => answer.status, (refusal) => refusal.status);
  },
});
