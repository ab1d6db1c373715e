// Verifies access tokens with our published keys alone: node verify.mjs JWKS_URL TOKEN...
// Prints the claims of each token, a line of JSON each.
import { createRemoteJWKSet, jwtVerify } from 'jose';

const [url, ...tokens] = process.argv.slice(2);
const keys = createRemoteJWKSet(new URL(url));
for (const token of tokens) {
  const { payload } = await jwtVerify(token, keys, {
    issuer: 'auth-api',
    audience: 'auth-api',
    typ: 'at+jwt',
  });
  console.log(JSON.stringify(payload));
}
