// A Fastify service that verifies tokens by itself, and refuses those that were logged out.
import { bearerToken, createVerifier, Refused, Unavailable } from 'auth-api-verifier';
import Fastify from 'fastify';

const verifier = createVerifier({ url: process.env.AUTH_URL, clientKey: process.env.VERIFIER_KEY });
const app = Fastify();

app.decorateRequest('claims', null);
app.addHook('onClose', () => verifier.close());
app.addHook('onRequest', async (request) => {
  request.claims = await verifier.verify(bearerToken(request.headers.authorization));
});
app.setErrorHandler((reason, request, reply) => {
  if (!(reason instanceof Refused || reason instanceof Unavailable)) return reply.send(reason);
  return reply.code(reason.status).headers(reason.headers).send({ error: reason.error });
});

app.get('/report', async (request) => ({ report: [1, 2, 3], user_id: request.claims.sub }));

await app.listen({ port: Number(process.env.PORT ?? 9000) });
process.once('SIGTERM', () => app.close());
