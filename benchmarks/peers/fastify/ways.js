// Two ways to verify a token and to write a line. Each registers the plugin, and hands out what the routes need.

import jwt from '@fastify/jwt'

export const ACCESS_SECONDS = 900
export const REFRESH_SECONDS = 604800

const logger = { logger: { base: null }, disableRequestLogging: true, requestIdLogLabel: 'request_id' }
const access = { namespace: 'access', sign: { expiresIn: `${ACCESS_SECONDS}s` } }
const refresh = { namespace: 'refresh', sign: { expiresIn: `${REFRESH_SECONDS}s` } }

// As the documentation of Fastify and of @fastify/jwt has it.
export const documented = {
  options: logger,
  register (app, secret, isEnded) {
    app.register(jwt, {
      ...access, secret, trusted: (request, token) => token.type === 'access' && !isEnded(token.sid)
    })
    app.register(jwt, {
      ...refresh,
      secret,
      verify: { extractToken: (request) => request.body.refresh_token },
      trusted: (request, token) => token.type === 'refresh'
    })
    return {
      verifyAccess: (request) => request.accessJwtVerify(),
      verifyRefresh: (request) => request.refreshJwtVerify(),
      log: (request, line) => request.log.info(line)
    }
  }
}

// As whoever has measured that writes it: without a promise for each token and a logger for each request. A token that
// has verified is remembered under its whole text, as with us: to hash it takes as long as to verify it again.
export const tuned = {
  options: { ...logger, childLoggerFactory: (logger) => logger },
  register (app, secret, isEnded) {
    const cache = { cache: 10_000, cacheKeyBuilder: (token) => token }
    app.register(jwt, { ...access, secret, verify: cache })
    app.register(jwt, { ...refresh, secret })

    const verifying = (type, tokenOf, isGood) => (request, reply, done) => {
      let claims
      try {
        claims = app.jwt[type].verify(tokenOf(request))
      } catch {
        claims = null
      }
      if (claims === null || claims.type !== type || !isGood(claims)) {
        return reply.code(401).send({ error: 'invalid_token' })
      }
      request.user = claims
      done()
    }

    return {
      verifyAccess: verifying('access', bearerOf, ({ sid }) => !isEnded(sid)),
      verifyRefresh: verifying('refresh', (request) => request.body.refresh_token, () => true),
      log: (request, line) => app.log.info({ request_id: request.id, ...line })
    }
  }
}

function bearerOf (request) {
  const [scheme, token] = (request.headers.authorization ?? '').split(' ')
  return scheme.toLowerCase() === 'bearer' ? token : undefined
}
