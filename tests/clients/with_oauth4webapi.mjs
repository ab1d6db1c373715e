// oauth4webapi, which also checks an access token as an API would (RFC 9068).
import * as oauth from 'oauth4webapi';
import {
  alg, bearer, clientId, me, privateKey, refreshToken, scope, secret, tell, url,
} from './script.mjs';

const insecure = { [oauth.allowInsecureRequests]: true }; // for http:// alone
const issuer = new URL(url);
const server = await oauth.processDiscoveryResponse(
  issuer,
  await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...insecure }),
);
const client = { client_id: clientId };
const auth = alg ? oauth.PrivateKeyJwt(await privateKey()) : oauth.ClientSecretBasic(secret);
let token;

function call() {
  return oauth.protectedResourceRequest(token, 'GET', new URL(me), undefined, undefined, insecure);
}

await tell('oauth4webapi', {
  token: async () => {
    const asked = await oauth.clientCredentialsGrantRequest(
      server, client, auth, { scope }, insecure,
    );
    const granted = await oauth.processClientCredentialsResponse(server, client, asked);
    token = granted.access_token;
    return granted;
  },
  call: async () => (await call()).json(),
  refresh: async () => {
    const asked = await oauth.refreshTokenGrantRequest(server, client, auth, refreshToken, insecure);
    return oauth.processRefreshTokenResponse(server, client, asked);
  },
  introspect: async () => {
    const asked = await oauth.introspectionRequest(server, client, auth, token, insecure);
    return oauth.processIntrospectionResponse(server, client, asked);
  },
  validate: () =>
    oauth.validateJwtAccessToken(server, new Request(me, bearer(token)), 'auth-api', insecure),
  revoke: async () => {
    const asked = await oauth.revocationRequest(server, client, auth, token, insecure);
    await oauth.processRevocationResponse(asked);
    return call().then((answer) => answer.status, (refusal) => refusal.status);
  },
});
