// Fastify with our promises, as a good engineer on Node would write it: a refresh token counts once, durably, and its
// reuse ends the session; a log-out ends the whole session, and each call asks whether it did; a line for each event
// through pino; a limit to failed logins. Two arguments: how it commits, `plain` or `batched` (see store.js), and how
// it verifies and logs, `documented` or `tuned` (see ways.js).

import { createHash, randomUUID } from 'node:crypto'

import Fastify from 'fastify'

import { FailedLogins } from './failed_logins.js'
import {
  loginBody, meAnswer, messageAnswer, pairAnswer, refreshBody, secureDataAnswer
} from './schemas.js'
import * as committing from './store.js'
import * as ways from './ways.js'

const { ACCESS_SECONDS, REFRESH_SECONDS } = ways
const HEADERS = { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' }
const SANE_ID = /^[\w.-]{1,64}$/

const [commit, way] = process.argv.slice(2)
const path = process.env.DATABASE_URL.replace('sqlite:///', '')
const store = committing.openStore(path, committing[commit])
const failedLogins = new FailedLogins(30, 60_000)

const idPrefix = randomUUID().slice(0, 13)
let requests = 0

const app = Fastify({
  ...ways[way].options,
  genReqId: ({ headers }) => {
    const given = headers['x-request-id']
    return SANE_ID.test(given) ? given : `${idPrefix}-${(++requests).toString(16)}`
  }
})
const { verifyAccess, verifyRefresh, log } = ways[way].register(app, process.env.SECRET_KEY, store.isEnded)

app.addHook('onRequest', (request, reply, done) => {
  reply.headers(HEADERS).header('x-request-id', request.id)
  done()
})

const digestOf = (text) => createHash('sha256').update(text).digest('hex')
const successorOf = (jti) => createHash('sha256').update(jti).digest('base64url').slice(0, 22)

function record (request, event, { sub, sid }) {
  log(request, { event, address: request.ip, client: sub, session: sid })
}

// `refresh` are the claims of its refresh token. One that follows another has its `iat` and its `exp` already.
function makePair (refresh) {
  const { sub, sid, exp } = refresh
  return {
    access_token: app.jwt.access.sign({ sub, sid, type: 'access', jti: randomUUID() }),
    refresh_token: app.jwt.refresh.sign({ ...refresh, type: 'refresh' }),
    user_id: sub,
    token_type: 'Bearer',
    expires_in: ACCESS_SECONDS,
    refresh_expires_in: exp ? exp - Math.floor(Date.now() / 1000) : REFRESH_SECONDS
  }
}

app.post('/login', {
  schema: { body: loginBody, response: { 200: pairAnswer } }
}, async (request, reply) => {
  const wait = failedLogins.secondsLeft(request.ip)
  if (wait) return reply.code(429).header('retry-after', wait).send({ error: 'too_many_failures' })
  const client = store.findLogin(digestOf(request.body.client_key))
  if (!client) {
    failedLogins.count(request.ip)
    record(request, 'login_failed', {})
    return reply.code(401).send({ error: 'invalid_client' })
  }
  const session = { sub: client.id, sid: randomUUID(), jti: randomUUID() }
  record(request, 'login', session)
  return makePair(session)
})

app.post('/refresh-token', {
  schema: { body: refreshBody, response: { 200: pairAnswer } },
  preHandler: verifyRefresh
}, async (request, reply) => {
  const { sub, sid, jti, exp } = request.user
  const successor = successorOf(jti)
  const { spentAt, refusal } = await store.spend({ sub, sid, jti, exp }, successor, Date.now())
  record(request, refusal ?? 'refreshed', request.user)
  if (refusal) return reply.code(401).send({ error: 'invalid_grant' })
  return makePair({ sub, sid, jti: successor, iat: Math.floor(spentAt / 1000), exp })
})

app.post('/logout', {
  schema: { response: { 200: messageAnswer } },
  onRequest: verifyAccess
}, async (request) => {
  await store.end(request.user.sid, request.user.iat + REFRESH_SECONDS)
  record(request, 'logged_out', request.user)
  return { message: 'Logged out.' }
})

app.get('/secure-data', {
  schema: { response: { 200: secureDataAnswer } },
  onRequest: verifyAccess
}, async (request) => ({ message: 'This is what the token opens.', user_id: request.user.sub }))

app.get('/me', {
  schema: { response: { 200: meAnswer } },
  onRequest: verifyAccess
}, async (request, reply) => {
  const client = store.findClient(request.user.sub)
  if (!client) return reply.code(401).send({ error: 'invalid_token' })
  return {
    user_id: client.id,
    name: client.name,
    scopes: client.scopes.split(' ').filter(Boolean),
    created_at: client.created_at,
    session_id: request.user.sid,
    token_expires_at: request.user.exp
  }
})

await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) })
