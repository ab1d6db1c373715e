// @badgateway/oauth2-client, which finds the endpoints in the metadata.
import { OAuth2Client, OAuth2Fetch } from '@badgateway/oauth2-client';
import { bearer, clientId, me, refreshToken, scope, secret, tell, url } from './script.mjs';

const client = new OAuth2Client({ server: url, clientId, clientSecret: secret });
let token;

const wire = (granted) => ({
  access_token: granted.accessToken,
  refresh_token: granted.refreshToken ?? undefined,
});

await tell('@badgateway/oauth2-client', {
  token: async () => {
    token = await client.clientCredentials({ scope: [scope] });
    return wire(token);
  },
  call: async () => {
    const calling = new OAuth2Fetch({ client, getNewToken: () => token });
    return (await calling.fetch(me)).json();
  },
  refresh: async () => wire(await client.refreshToken({ ...token, refreshToken })),
  introspect: () => client.introspect(token),
  revoke: async () => {
    await client.revoke(token);
    return (await fetch(me, bearer(token.accessToken))).status;
  },
});
