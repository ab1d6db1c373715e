// The shapes of what is sent and answered, by which Fastify writes its JSON. Both peers on Fastify have them.

const string = { type: 'string' }
const integer = { type: 'integer' }

export const object = (properties) => ({ type: 'object', properties, required: Object.keys(properties) })

export const loginBody = object({ client_key: string })
export const refreshBody = object({ refresh_token: string })
export const pairAnswer = object({
  access_token: string,
  refresh_token: string,
  user_id: string,
  token_type: string,
  expires_in: integer,
  refresh_expires_in: integer
})
export const messageAnswer = object({ message: string })
export const secureDataAnswer = object({ message: string, user_id: string })
export const meAnswer = object({
  user_id: string,
  name: string,
  scopes: { type: 'array', items: string },
  created_at: integer,
  session_id: string,
  token_expires_at: integer
})
