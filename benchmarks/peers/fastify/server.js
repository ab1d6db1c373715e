// Fastify, @fastify/jwt and better-sqlite3, as their documentation has them: what is usual on Node.
// A refresh hands out new tokens and writes nothing; a log-out revokes the token that it comes with.

import { createHash, randomUUID } from 'node:crypto'

import jwt from '@fastify/jwt'
import Database from 'better-sqlite3'
import Fastify from 'fastify'

import {
  loginBody, meAnswer, messageAnswer, pairAnswer, refreshBody, secureDataAnswer
} from './schemas.js'

const ACCESS_SECONDS = 900
const REFRESH_SECONDS = 604800
const secret = process.env.SECRET_KEY

const database = new Database(process.env.DATABASE_URL.replace('sqlite:///', ''))
database.pragma('journal_mode = WAL')
database.pragma('synchronous = FULL')
database.exec('CREATE TABLE IF NOT EXISTS revoked_tokens (jti TEXT PRIMARY KEY, expires_at INTEGER)')
const findClient = database.prepare('SELECT * FROM clients WHERE id = ?')
const findClientByDigest = database.prepare('SELECT id FROM clients WHERE digest = ?')
const findRevoked = database.prepare('SELECT 1 FROM revoked_tokens WHERE jti = ?')
const revoke = database.prepare('INSERT OR IGNORE INTO revoked_tokens VALUES (?, ?)')

const app = Fastify()

// A namespace for each kind of token: its life is an option of the plugin, and so read only once.
app.register(jwt, {
  secret,
  namespace: 'access',
  sign: { expiresIn: `${ACCESS_SECONDS}s` },
  trusted: (request, token) => token.type === 'access' && !findRevoked.get(token.jti)
})
app.register(jwt, {
  secret,
  namespace: 'refresh',
  sign: { expiresIn: `${REFRESH_SECONDS}s` },
  verify: { extractToken: (request) => request.body.refresh_token },
  trusted: (request, token) => token.type === 'refresh' && !findRevoked.get(token.jti)
})

const authenticate = (request) => request.accessJwtVerify()

function makePair (userId) {
  return {
    access_token: app.jwt.access.sign({ sub: userId, type: 'access', jti: randomUUID() }),
    refresh_token: app.jwt.refresh.sign({ sub: userId, type: 'refresh', jti: randomUUID() }),
    user_id: userId,
    token_type: 'Bearer',
    expires_in: ACCESS_SECONDS,
    refresh_expires_in: REFRESH_SECONDS
  }
}

app.post('/login', {
  schema: { body: loginBody, response: { 200: pairAnswer } }
}, async (request, reply) => {
  const digest = createHash('sha256').update(request.body.client_key).digest('hex')
  const client = findClientByDigest.get(digest)
  if (!client) return reply.code(401).send({ message: 'Unknown client key' })
  return makePair(client.id)
})

app.post('/refresh-token', {
  schema: { body: refreshBody, response: { 200: pairAnswer } },
  preHandler: (request) => request.refreshJwtVerify()
}, async (request) => makePair(request.user.sub))

app.post('/logout', {
  schema: { response: { 200: messageAnswer } },
  onRequest: authenticate
}, async (request) => {
  revoke.run(request.user.jti, request.user.exp)
  return { message: 'Logged out.' }
})

app.get('/secure-data', {
  schema: { response: { 200: secureDataAnswer } },
  onRequest: authenticate
}, async (request) => ({ message: 'This is what the token opens.', user_id: request.user.sub }))

app.get('/me', {
  schema: { response: { 200: meAnswer } },
  onRequest: authenticate
}, async (request, reply) => {
  const client = findClient.get(request.user.sub)
  if (!client) return reply.code(401).send({ message: 'Unknown client' })
  return {
    user_id: client.id,
    name: client.name,
    scopes: client.scopes.split(' ').filter(Boolean),
    created_at: client.created_at,
    session_id: request.user.jti,
    token_expires_at: request.user.exp
  }
})

await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) })
