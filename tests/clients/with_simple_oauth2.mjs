// simple-oauth2.
import { ClientCredentials } from 'simple-oauth2';
import { bearer, clientId, me, refreshToken, scope, secret, tell, url } from './script.mjs';

const client = new ClientCredentials({
  client: { id: clientId, secret },
  auth: { tokenHost: url, tokenPath: '/oauth/token', revokePath: '/oauth/revoke' },
});
let granted;

function call() {
  return fetch(me, bearer(granted.token.access_token));
}

await tell('simple-oauth2', {
  token: async () => {
    granted = await client.getToken({ scope });
    return granted.token;
  },
  call: async () => (await call()).json(),
  refresh: async () =>
    (await client.createToken({ ...granted.token, refresh_token: refreshToken }).refresh()).token,
  revoke: async () => {
    await granted.revoke('access_token');
    return (await call()).status;
  },
});
